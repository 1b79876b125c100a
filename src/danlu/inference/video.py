"""Read and write videos frame by frame; needs PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from danlu.message import message
from danlu.refuse import Refusal

if TYPE_CHECKING:
    from PIL import Image

VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


def is_video(path: Path) -> bool:
    """Return whether `path` is a file with a video extension."""
    return path.suffix.lower() in VIDEOS and path.is_file()


def video_frames(path: Path) -> Iterator[np.ndarray]:
    """Yield frames as uint8 (H, W, 3). Raises Refusal if PyAV is missing or the file is no video."""
    av = _library(path)
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, IndexError) as error:  # no video stream
        raise Refusal(
            message(
                "inference.refuse.path_cannot_read_video",
                "PATH {path} cannot be read as a video: {error}",
                path=path,
                error=str(error),
            )
        ) from None


class Recording:
    """Writes images to a video file.

    like: video whose frame rate is used. The size is that of the first image.
    """

    def __init__(self, like: Path, file: Path) -> None:
        av = _library(like)
        with av.open(str(like)) as container:
            rate = container.streams.video[0].average_rate or 25
        self._container = av.open(str(file), "w")
        self._stream: Any = self._container.add_stream("h264", rate=rate)
        self._stream.pix_fmt = "yuv420p"
        self._frame = av.VideoFrame.from_image

    def add(self, image: Image.Image) -> None:
        """Append one frame."""
        width, height = (side - side % 2 for side in image.size)  # chroma subsampling needs even sides
        if not self._stream.codec_context.is_open:
            self._stream.width, self._stream.height = width, height
        self._container.mux(self._stream.encode(self._frame(image.crop((0, 0, width, height)))))

    def close(self) -> None:
        """Write the buffered frames and close the file."""
        self._container.mux(self._stream.encode())
        self._container.close()


def _library(path: Path) -> Any:
    try:
        import av
    except ImportError:
        raise Refusal(
            message(
                "inference.refuse.path_video_requires_pyav",
                "PATH {path} is a video, which requires PyAV: `pip install av`, or give images",
                path=path,
            )
        ) from None
    return av

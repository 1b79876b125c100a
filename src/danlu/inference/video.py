"""Videos, frame by frame, where PyAV is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from danlu.refuse import Refusal

if TYPE_CHECKING:
    from PIL import Image

VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEOS and path.is_file()


def video_frames(path: Path) -> Iterator[np.ndarray]:
    """uint8 (H, W, 3), one after another. Refusal where PyAV is missing or the file is no video."""
    av = _library(path)
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, IndexError) as error:  # no stream of images in it
        raise Refusal(f"PATH {path} is no video that can be read: {error}") from None


class Recording:
    """A video of the speed and size of another, made of images."""

    def __init__(self, like: Path, file: Path) -> None:
        av = _library(like)
        with av.open(str(like)) as container:
            rate = container.streams.video[0].average_rate or 25
        self._container = av.open(str(file), "w")
        self._stream: Any = self._container.add_stream("h264", rate=rate)
        self._stream.pix_fmt = "yuv420p"
        self._frame = av.VideoFrame.from_image

    def add(self, image: Image.Image) -> None:
        width, height = (side - side % 2 for side in image.size)  # halved colours want even sides
        if not self._stream.codec_context.is_open:
            self._stream.width, self._stream.height = width, height
        self._container.mux(self._stream.encode(self._frame(image.crop((0, 0, width, height)))))

    def close(self) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()


def _library(path: Path) -> Any:
    try:
        import av
    except ImportError:
        raise Refusal(f"PATH {path} is a video, which only PyAV reads: `pip install av`, or give images") from None
    return av

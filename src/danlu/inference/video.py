"""Videos to predict on, and videos of predictions; needs PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from danlu.data.clips import frame_numbers
from danlu.data.files.video_file import frames_at, video_frames, video_info, video_library
from danlu.message import message
from danlu.refuse import Refusal

if TYPE_CHECKING:
    from PIL import Image


def all_frames(path: Path) -> Iterator[np.ndarray]:
    """Yield frames as uint8 (H, W, 3). Raises Refusal if PyAV is missing or the file is no video."""
    try:
        yield from video_frames(path)
    except ValueError as error:
        raise _unreadable(path, error) from None


def frames_of_clip(path: Path, count: int) -> list[np.ndarray]:
    """`count` evenly spaced frames uint8 (H, W, 3) of a video. Raises Refusal as `all_frames`."""
    try:
        return frames_at(path, frame_numbers(video_info(path).frames, count))
    except ValueError as error:
        raise _unreadable(path, error) from None


class Recording:
    """Writes images to a video file.

    like: video whose frame rate is used. The size is that of the first image.
    """

    def __init__(self, like: Path, file: Path) -> None:
        av = video_library(like)
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


def _unreadable(path: Path, error: ValueError) -> Refusal:
    text = "PATH {path} cannot be read as a video: {error}"
    return Refusal(message("inference.refuse.path_cannot_read_video", text, path=path, error=str(error)))

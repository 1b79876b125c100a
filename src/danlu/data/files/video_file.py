"""Frames of video files, decoded one by one; needs PyAV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from danlu.message import message
from danlu.refuse import Refusal

VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


class VideoInfo(NamedTuple):
    """Number of frames of a video, and their size in pixels."""

    frames: int
    height: int
    width: int


def is_video(path: Path) -> bool:
    """Return whether `path` is a file with a video extension."""
    return path.suffix.lower() in VIDEOS and path.is_file()


def video_frames(path: Path) -> Iterator[np.ndarray]:
    """Yield frames as uint8 (H, W, 3), turned as the camera says. Raises ValueError if the file is no video."""
    with _opened(path) as container:
        for frame in container.decode(video=0):
            quarters = round(getattr(frame, "rotation", 0) / 90)  # counterclockwise, as rot90
            yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), quarters))


def video_info(path: Path) -> VideoInfo:
    """Frames and size of a video without decoding it. Raises ValueError if the file is no video.

    The frames are counted, since headers may be wrong; hidden frames of some codecs are counted as well.
    """
    with _opened(path) as container:
        stream = container.streams.video[0]
        frames = sum(1 for packet in container.demux(stream) if packet.size)
        height, width = stream.height, stream.width
    if not frames or not height or not width:
        raise ValueError("no frames")
    return VideoInfo(frames, height, width)


def frames_at(path: Path, numbers: Sequence[int]) -> list[np.ndarray]:
    """Frames uint8 (H, W, 3) of a video by their ascending numbers from 0; numbers past the end give the last frame.

    Raises ValueError if the file is no video, or none of its frames can be decoded.
    """
    found: list[np.ndarray] = []
    last = None
    for number, last in enumerate(video_frames(path)):
        found += [last] * numbers[len(found) :].count(number)
        if len(found) == len(numbers):
            return found
    if last is None:
        raise ValueError("no frames")
    return found + [last] * (len(numbers) - len(found))


def video_library(path: Path) -> Any:
    """The module `av`. Raises Refusal if it is not installed. path: the video that needs it, for the message."""
    try:
        import av
    except ImportError:
        raise Refusal(
            message(
                "data.refuse.path_video_requires_pyav",
                "{path} is a video, which requires PyAV: `pip install av`, or save its frames as images",
                path=path,
            )
        ) from None
    return av


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The container of a video. Raises ValueError for whatever PyAV cannot read in the block."""
    av = video_library(path)
    try:
        with av.open(str(path)) as container:
            yield container
    except (av.FFmpegError, IndexError) as error:  # IndexError: no video stream
        raise ValueError(getattr(error, "strerror", None) or str(error)) from None

"""Class folders of clips, each one .npy array of frames: (T, H, W), (T, H, W, C), (T, C, H, W) or (C, T, H, W)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from danlu.config import DataConfig
from danlu.data.clips import as_clips
from danlu.data.dataset import Dataset
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.image_file import UNREADABLE
from danlu.data.files.survey import File, Survey, as_survey, sample
from danlu.data.sources.arrays.clip_files import ClipFacts, ReadFrames, labelled_clips, read_clips
from danlu.data.sources.tables.targets import Task
from danlu.message import message
from danlu.refuse import refusal

SUFFIXES = (".npy",)
MIN_FRAMES = 2  # of a clip
IMAGE_CHANNELS = (1, 3, 4)  # as last side: an array of three dimensions is then one image
CLIP_DIMENSIONS = (3, 4)


@dataclass(frozen=True)
class _Facts(ClipFacts):
    """Also the smallest and the largest value."""

    low: float = 0.0
    high: float = 255.0


def look(survey: Survey) -> Evidence | None:
    """Recognise class folders of .npy arrays that are clips by their shape, without images beside them."""
    found = labelled_clips(survey, SUFFIXES)
    shapes = [shape for file in sample(list(found.labels)) if (shape := _shape(file.path)) is not None]
    if len(found.classes) < 2 or not shapes or not all(map(_is_clip, shapes)):
        return None
    text = "{count} arrays of frames in {classes} class folders"
    return Evidence(
        Fit.LAYOUT, message("data.seen.clip_arrays", text, count=len(found.labels), classes=len(found.classes))
    )


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read clips of T frames of one size as uint8 (N, T * C, S, S); T and S are those of the config, or chosen.

    Values are uint8, or numbers in [0, 1] or [0, 255] over all clips. Raises Refusal for other values and shapes, and
    if more than 5 % of the clips are bad, unless config.on_bad is "skip".
    """
    survey = as_survey(path)
    found = labelled_clips(survey, SUFFIXES)
    if not found.labels:
        wanted = message("data.wanted.clip_arrays", "class folders of clips (CLASS/NAME.npy)")
        raise refusal(str(survey.root), wanted, message("data.got.another_layout", "another layout"))
    return read_clips(survey, found, config, "clip arrays", _facts, lambda facts: _reader(survey.root, facts))


def _stored(path: Path) -> np.ndarray:
    """The array of a file, on disk. Raises ValueError for one that is damaged, truncated or holds Python objects."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray) or not array.size or array.dtype.kind not in "iufb":
        raise ValueError("no array of numbers")
    return array


def _shape(path: Path) -> tuple[int, ...] | None:
    try:
        return _stored(path).shape
    except UNREADABLE:
        return None


def _is_clip(shape: tuple[int, ...]) -> bool:
    if len(shape) == CLIP_DIMENSIONS[0]:
        return shape[0] >= MIN_FRAMES and shape[-1] not in IMAGE_CHANNELS
    return len(shape) == CLIP_DIMENSIONS[1]


def _frames(file: File) -> Tensor:
    """Frames (T, C, H, W) of a clip. Raises ValueError for other shapes, Refusal for ambiguous ones."""
    array = _stored(file.path)
    if not _is_clip(array.shape):
        raise ValueError(f"shape {array.shape} instead of (T, H, W) or (T, H, W, C)")
    clip = torch.from_numpy(np.array(array))
    return clip[:, None] if clip.ndim == CLIP_DIMENSIONS[0] else as_clips(clip[None], file.relative)[0]


def _facts(file: File) -> _Facts:
    clip = _frames(file)
    frames, channels, height, width = clip.shape
    if clip.dtype == torch.uint8:
        return _Facts(frames, channels, min(height, width))
    if clip.is_floating_point() and not clip.isfinite().all():
        raise ValueError("values that are not finite")
    return _Facts(frames, channels, min(height, width), float(clip.min()), float(clip.max()))


def _scale(root: Path, facts: dict[File, _Facts]) -> float:
    """Factor from the values of all clips to [0, 255]. Raises Refusal if they are neither in it nor in [0, 1]."""
    low, high = min(one.low for one in facts.values()), max(one.high for one in facts.values())
    if low < 0 or high > 255:
        raise refusal(
            f"the clips of {root}",
            message("data.wanted.255", "in [0, 1] or [0, 255]"),
            message("data.got.range_of_values", "values from {low:g} to {high:g}", low=low, high=high),
        )
    return 255.0 if high <= 1 else 1.0


def _reader(root: Path, facts: dict[File, _Facts]) -> ReadFrames:
    """The reader of frames, with the values of all clips scaled alike."""
    scale = _scale(root, facts)

    def read(file: File, numbers: list[int]) -> list[np.ndarray]:
        clip = _frames(file)[numbers]
        if clip.dtype != torch.uint8:
            clip = (clip.float() * scale).round().to(torch.uint8)
        return [frame.permute(1, 2, 0).numpy() for frame in clip]

    return read

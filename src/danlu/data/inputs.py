"""A dataset's inputs in the form a network takes: one uint8 tensor, files decoded on demand, or a table of columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from danlu.data.canvas import FITS, PAD, Fit, Placement
from danlu.data.dataset import Dataset, ImageFiles, Problem
from danlu.data.images import Colour, cached_images, load_images

if TYPE_CHECKING:
    import pandas

RGB_TO_GREY = (0.299, 0.587, 0.114)  # ITU-R 601, as PIL converts


@dataclass
class Decoder:
    """Decodes the images of a batch, naming what it could not read. Sent whole to worker processes."""

    files: ImageFiles
    size: int
    colour: Colour
    fit: Fit = "crop"

    def __call__(self, wanted: np.ndarray, epoch: int = 0) -> tuple[Tensor, list[int], list[Problem]]:
        """Sample numbers -> uint8 (n, C, S, S), the places in it that are void, and why."""
        paths = [self.files.paths[i] for i in wanted]
        images, problems = load_images(paths, self.size, self.colour, workers=0, fit=self.fit, window=self.files.window)
        bad = {problem.where for problem in problems}
        return images, [row for row, path in enumerate(paths) if str(path) in bad], problems


@dataclass
class Images:
    """source: uint8 (N, C, S, S) in memory, or files with a `decoder`. void: samples that could not be read."""

    source: Tensor | ImageFiles
    decoder: Decoder | None = None
    problems: list[Problem] = field(default_factory=list)
    void: list[int] = field(default_factory=list)

    def some(self, index: Sequence[int]) -> Tensor:
        """The named samples as uint8 (n, C, S, S)."""
        if isinstance(self.source, Tensor):
            return self.source[torch.as_tensor(index, dtype=torch.long)].cpu()
        assert self.decoder is not None
        return self.decoder(np.asarray(index))[0]


def image_inputs(
    dataset: Dataset,
    *,
    size: int,
    colour: Colour,
    memory: bool = True,
    cache: str | None = None,
    workers: int | None = None,
    fit: Fit = "crop",
) -> Images:
    """The dataset's images as squares of `size` px in `colour`, decoded now (memory, cache) or when wanted.

    fit: how an image that is no square becomes one (`data/canvas.py`).
    """
    if isinstance(dataset.inputs, Tensor):
        images = _in_colour(dataset.inputs, colour)
        return Images(_letterboxed(images, size) if fit == "letterbox" else _resized(images, (size, size)))
    assert isinstance(dataset.inputs, ImageFiles)
    files = dataset.inputs
    if cache:
        images, problems = cached_images(files, size, colour, cache, workers, fit)
    elif memory:
        images, problems = load_images(files.paths, size, colour, workers, fit, files.window)
    else:
        return Images(files, Decoder(files, size, colour, fit))
    bad = {problem.where for problem in problems}
    void = [row for row, path in enumerate(files.paths) if str(path) in bad] if bad else []
    return Images(images, problems=list(problems), void=void)


def placements(dataset: Dataset, size: int, fit: Fit) -> list[Placement]:
    """Where each image lies on the canvas that `image_inputs` makes of it. fit: "letterbox" or "stretch"."""
    if isinstance(dataset.inputs, Tensor):
        height, width = dataset.inputs.shape[-2:]
        return [FITS[fit]((height, width), size)] * len(dataset)
    assert isinstance(dataset.inputs, ImageFiles)
    return [FITS[fit](original, size) for original in dataset.inputs.sizes]


def frame_of(dataset: Dataset) -> pandas.DataFrame:
    """The dataset's rows as a DataFrame; plain columns are named x0, x1, ..."""
    import pandas

    if isinstance(dataset.inputs, pandas.DataFrame):
        return dataset.inputs
    assert isinstance(dataset.inputs, Tensor)
    return pandas.DataFrame(dataset.inputs.numpy(), columns=[f"x{i}" for i in range(dataset.inputs.shape[1])])


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over uint8 (N, C, H, W), of images in [0, 1]."""
    means, stds = [], []
    for channel in images.unbind(1):
        # Counting the 256 values is exact and needs no float copy of the whole set.
        counts = torch.bincount(channel.flatten(), minlength=256).double()
        values = torch.arange(256, dtype=torch.float64) / 255
        share = counts / counts.sum()
        mean = (share * values).sum()
        means.append(mean.item())
        stds.append((share * (values - mean).square()).sum().sqrt().item())
    return tuple(means), tuple(stds)


def _in_colour(images: Tensor, colour: Colour) -> Tensor:
    wanted = 1 if colour == "grey" else 3
    if images.shape[1] == wanted:
        return images
    if wanted == 3:
        return images[:, :1].expand(-1, 3, -1, -1).contiguous()
    weights = torch.tensor(RGB_TO_GREY)[:, None, None]
    parts = [(chunk[:, :3] * weights).sum(1, keepdim=True).round().to(torch.uint8) for chunk in images.split(4096)]
    return torch.cat(parts)


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    if images.shape[-2:] == size:
        return images
    parts = [
        torch.nn.functional.interpolate(chunk.float(), size, mode="bilinear", antialias=True)
        for chunk in images.split(4096)
    ]
    return torch.cat([part.round().clamp(0, 255).to(torch.uint8) for part in parts])


def _letterboxed(images: Tensor, size: int) -> Tensor:
    height, width = images.shape[-2:]
    placement = FITS["letterbox"]((height, width), size)
    left, top = (round(start) for start in placement.offset)
    inside = (round(height * placement.scale[1]), round(width * placement.scale[0]))
    canvas = images.new_full((*images.shape[:2], size, size), PAD)
    canvas[..., top : top + inside[0], left : left + inside[1]] = _resized(images, inside)
    return canvas

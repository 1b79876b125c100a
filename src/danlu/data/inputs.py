"""Inputs of a dataset as a network takes them: one uint8 tensor, files decoded on demand, or table columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from danlu.data.canvas import FITS, PAD, AnyFit, Fit, Placement
from danlu.data.dataset import Dataset, ImageFiles, Problem
from danlu.data.image_cache import cached_images
from danlu.data.image_workers import load_images
from danlu.data.images import Colour, channels_of
from danlu.data.memory import check_memory
from danlu.message import message
from danlu.patch_grid import PatchGrid
from danlu.refuse import refusal

if TYPE_CHECKING:
    import pandas

USUAL_BYTES = 3 * 320**2  # of an image; if the dataset does not fit although its images are smaller, it is too many
RESIZED_AT_ONCE = 1 << 24  # values in float32 while a set in memory is resized
RGB_TO_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as PIL


@dataclass
class Decoder:
    """Decoder for the images of a batch; it is pickled and sent to worker processes.

    size: side of the decoded images in pixels. colour: "grey" or "rgb". fit: as of `read_image`.
    """

    files: ImageFiles
    size: int
    colour: Colour
    fit: AnyFit = "crop"

    def __call__(self, wanted: np.ndarray, epoch: int = 0) -> tuple[Tensor, list[int], list[Problem]]:
        """Sample numbers -> uint8 (n, C, S, S), the places in it that are void, and why."""
        paths = [self.files.paths[i] for i in wanted]
        images, problems = load_images(
            paths,
            self.size,
            self.colour,
            workers=0,
            fit=self.fit,
            window=self.files.window,
            channels=self.files.channels,
        )
        bad = {problem.where for problem in problems}
        return images, [row for row, path in enumerate(paths) if str(path) in bad], problems


@dataclass
class Images:
    """Images of a dataset.

    source: uint8 (N, C, S, S) in memory, or files with a `decoder`. problems: of unreadable files. void: numbers of the
    samples that could not be read. frames: of clips, whose channels are those of all frames. marked: whether a last
    channel marks the pixels of each image on the canvas, which keeps its aspect there.
    """

    source: Tensor | ImageFiles
    decoder: Decoder | None = None
    problems: list[Problem] = field(default_factory=list)
    void: list[int] = field(default_factory=list)
    frames: int | None = None
    marked: bool = False

    @property
    def channels(self) -> int:
        """Number of channels of each image, or of a frame."""
        if isinstance(self.source, Tensor):
            return (self.source.shape[1] - self.marked) // (self.frames or 1)
        assert self.decoder is not None
        return channels_of(self.decoder.colour, self.source.channels)

    def some(self, index: Sequence[int]) -> Tensor:
        """Load the samples with the given numbers, uint8 (n, C, S, S)."""
        if isinstance(self.source, Tensor):
            return self.source[torch.as_tensor(index, dtype=torch.long)].cpu()
        assert self.decoder is not None
        return self.decoder(np.asarray(index))[0]

    def statistics(self, index: Sequence[int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel over the given samples, scaled to [0, 1]."""
        images = self.some(index)
        if self.marked:
            pixels = images[:, :-1].movedim(1, 0)[:, images[:, -1] > 0]
            return channel_statistics(pixels[None, ..., None])
        return channel_statistics(
            images if self.frames is None else images.unflatten(1, (self.frames, -1)).flatten(0, 1)
        )


def image_inputs(
    dataset: Dataset,
    *,
    size: int,
    colour: Colour,
    memory: bool = True,
    cache: str | None = None,
    workers: int | None = None,
    fit: AnyFit = "crop",
) -> Images:
    """Load the images of a dataset as squares of `size` pixels.

    colour: "grey", "rgb" or "all" (as stored). memory: decode all images now and keep them in memory. cache: folder of
    decoded images on disk, used instead of memory. Without both, images are decoded when needed. workers: number of
    processes that decode; None: one per CPU core. fit: how to make an image square (`read_image`).
    """
    total = len(dataset) * (dataset.frames or 1) * channels_of(colour, dataset.stored_channels, fit) * size**2
    what = f"{len(dataset):,} images"
    if isinstance(dataset.inputs, Tensor):
        if isinstance(fit, PatchGrid):
            wanted = message(
                "data.wanted.files_of_sizes", "image files, whose sizes differ, with --tokens and --size keep"
            )
            raise refusal(
                "DATA", wanted, message("data.got.arrays_one_size", "arrays of one size in {path}", path=dataset.path)
            )
        check_memory(total, "--size", size, what)
        images = _in_colour(dataset.inputs, colour, dataset.frames)
        images = _letterboxed(images, size) if fit == "letterbox" else _resized(images, (size, size))
        return Images(images, frames=dataset.frames)
    assert isinstance(dataset.inputs, ImageFiles)
    files = dataset.inputs
    if colour == "all" and files.channels is None:
        colour = "grey" if files.grey else "rgb"
    if cache is not None:
        images, problems = cached_images(files, size, colour, cache, workers, fit)
    elif memory:
        reducible = total > len(dataset) * USUAL_BYTES
        check_memory(total, *(("--size", size) if reducible else ("--data.memory", "true")), what)
        images, problems = load_images(files.paths, size, colour, workers, fit, files.window, files.channels)
    else:
        return Images(files, Decoder(files, size, colour, fit), marked=isinstance(fit, PatchGrid))
    bad = {problem.where for problem in problems}
    void = [row for row, path in enumerate(files.paths) if str(path) in bad] if bad else []
    return Images(images, problems=list(problems), void=void, marked=isinstance(fit, PatchGrid))


def placements(dataset: Dataset, size: int, fit: Fit) -> list[Placement]:
    """Compute the placement of each image on the canvas of `image_inputs`. fit: "letterbox" or "stretch"."""
    if isinstance(dataset.inputs, Tensor):
        height, width = dataset.inputs.shape[-2:]
        return [FITS[fit]((height, width), size)] * len(dataset)
    assert isinstance(dataset.inputs, ImageFiles)
    return [FITS[fit](original, size) for original in dataset.inputs.sizes]


def frame_of(dataset: Dataset) -> pandas.DataFrame:
    """Convert the rows of a dataset to a DataFrame; the columns of a tensor are named x0, x1, ..."""
    import pandas

    if isinstance(dataset.inputs, pandas.DataFrame):
        return dataset.inputs
    assert isinstance(dataset.inputs, Tensor)
    return pandas.DataFrame(dataset.inputs.numpy(), columns=[f"x{i}" for i in range(dataset.inputs.shape[1])])


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute the mean and standard deviation of each channel of uint8 (N, C, H, W), scaled to [0, 1]."""
    means, stds = [], []
    for channel in images.unbind(1):
        # A histogram of the 256 values is exact and needs no float copy of the dataset.
        counts = torch.bincount(channel.flatten(), minlength=256).double()
        values = torch.arange(256, dtype=torch.float64) / 255
        frequency = counts / counts.sum()
        mean = (frequency * values).sum()
        means.append(mean.item())
        stds.append((frequency * (values - mean).square()).sum().sqrt().item())
    return tuple(means), tuple(stds)


def _in_colour(images: Tensor, colour: Colour, frames: int | None = None) -> Tensor:
    if frames is not None:
        clips = _in_colour(images.unflatten(1, (frames, -1)).flatten(0, 1), colour)
        return clips.unflatten(0, (-1, frames)).flatten(1, 2)
    wanted = 1 if colour == "grey" else 3
    if colour == "all" or images.shape[1] == wanted:
        return images
    if images.shape[1] not in (1, 3):
        raise refusal(
            "--data.colour",
            message("data.wanted.all_images_channels", "all for images of {shape} channels", shape=images.shape[1]),
            colour,
        )
    if wanted == 3:
        return images[:, :1].expand(-1, 3, -1, -1).contiguous()
    weights = torch.tensor(RGB_TO_GREY)[:, None, None]
    parts = [(chunk[:, :3] * weights).sum(1, keepdim=True).round().to(torch.uint8) for chunk in images.split(4096)]
    return torch.cat(parts)


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    if images.shape[-2:] == size:
        return images
    count = max(1, RESIZED_AT_ONCE // (images.shape[1] * max(math.prod(size), math.prod(images.shape[-2:]))))
    resized = torch.empty(*images.shape[:2], *size, dtype=torch.uint8)
    for part, chunk in zip(resized.split(count), images.split(count)):
        sides = torch.nn.functional.interpolate(chunk.float(), size, mode="bilinear", antialias=True)
        part.copy_(sides.round().clamp(0, 255))
    return resized


def _letterboxed(images: Tensor, size: int) -> Tensor:
    height, width = images.shape[-2:]
    placement = FITS["letterbox"]((height, width), size)
    left, top = (round(start) for start in placement.offset)
    inside = (round(height * placement.scale[1]), round(width * placement.scale[0]))
    canvas = images.new_full((*images.shape[:2], size, size), PAD)
    canvas[..., top : top + inside[0], left : left + inside[1]] = _resized(images, inside)
    return canvas

"""Clips, the samples of video: which frames are taken, layouts of arrays, and their way through batches of images.

A clip of T frames is kept as an image of T * C channels, so that every transform treats its frames alike: a crop, a
flip or a change of brightness is the same in all of them. Networks take it as (N, T, C, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.data.batches import Transform
from danlu.message import message
from danlu.refuse import Refusal, refusal, shape_of

MAX_FRAMES = 16  # taken of each clip by default
COLOURS = (1, 3)  # channels of a frame
CLIP_CHANNELS = 1  # as which clips are augmented: without flips, which reverse directions, and changes of the hue


def frames_to_take(lengths: Sequence[int], wanted: int | None, where: str) -> int:
    """Number of frames to take of every clip: `wanted`, or the median number of frames, at most `MAX_FRAMES`.

    lengths: number of frames of each clip. Raises Refusal if `wanted` is more than the longest clip has.
    """
    longest = max(lengths)
    if wanted is not None and wanted > longest:
        raise refusal(
            "--data.frames",
            message(
                "data.wanted.frames_of_longest",
                "at most {longest}, the frames of the longest clip of {where}",
                longest=longest,
                where=where,
            ),
            wanted,
        )
    return wanted or min(MAX_FRAMES, sorted(lengths)[len(lengths) // 2])


def frame_numbers(length: int, count: int) -> list[int]:
    """Numbers of `count` frames, the middle ones of equal segments of a clip of `length` frames.

    All frames in order if count == length, the middle one if count == 1; frames are repeated in shorter clips.
    """
    return [(2 * i + 1) * length // (2 * count) for i in range(count)]


def as_clips(array: Tensor, where: str, *, as_given: bool = False) -> Tensor:
    """Clips as (N, T, C, H, W) with 1 or 3 channels.

    array: (N, T, C, H, W), (N, C, T, H, W) or (N, T, H, W, C); with `as_given` also (N, T, H, W), and then five
    dimensions are (N, T, C, H, W). where: its name, for messages. Raises Refusal where channels and frames cannot be
    told apart: such clips would train in the wrong order without an error.
    """
    if as_given and array.ndim == 4:
        return array[:, :, None]
    wanted = message("data.wanted.clips", "clips (N, T, C, H, W) of 1 or 3 channels")
    if array.ndim != 5:
        raise refusal(where, wanted, shape_of(array))
    places = [axis for axis in (1, 2, 4) if array.shape[axis] in COLOURS]
    if as_given:
        places = [axis for axis in places if axis == 2]
    if len(places) > 1:
        raise Refusal(
            message(
                "data.refuse.ambiguous_clips",
                "{where} of shape {shape} may have its channels in dimension {first} or {second}: transpose it to "
                "(N, T, C, H, W) with other sides, or save it as npz and read it with --format clips, which takes "
                "that order",
                where=where,
                shape=str(tuple(array.shape)),
                first=places[0],
                second=places[1],
            )
        )
    if not places:
        raise refusal(where, wanted, shape_of(array))
    return array.movedim(places[0], 2)


def folded(clips: Tensor, count: int) -> Tensor:
    """`count` frames of each clip (N, T, C, H, W), as images (N, count * C, H, W)."""
    return clips[:, frame_numbers(clips.shape[1], count)].flatten(1, 2).contiguous()


def unfolded(images: Tensor, frames: int) -> Tensor:
    """Images (..., T * C, H, W) as clips (..., T, C, H, W)."""
    return images.unflatten(-3, (frames, -1))


class ClipTransform:
    """Transform of folded clips: a transform of images of T * C channels, whose result becomes (N, T, C, H, W)."""

    def __init__(self, images: Transform, frames: int) -> None:
        self.images, self.frames = images, frames

    def draw(self, rng: np.random.Generator, n: int) -> Any:
        """Draw the random numbers of n clips; all frames of a clip share them."""
        return self.images.draw(rng, n)

    def __call__(self, source: Tensor, index: Tensor | None, targets: Any, draws: Any) -> tuple[Tensor, Any]:
        """Return clips (N, T, C, H, W) and their targets, transformed by `draws`."""
        images, targets = self.images(source, index, targets, draws)
        return unfolded(images, self.frames), targets


def filmstrip(image: Tensor, frames: int, shown: int = 8) -> Tensor:
    """Frames of a folded clip uint8 (T * C, H, W) in rows of four, with a grey line between them: uint8 (C, H', W').

    shown: max number of frames, evenly spaced.
    """
    clip = unfolded(image, frames)[frame_numbers(frames, min(frames, shown))]
    columns = min(4, len(clip))
    rows = -(-len(clip) // columns)
    _, channels, height, width = clip.shape
    sheet = torch.full((channels, rows * (height + 1) - 1, columns * (width + 1) - 1), 128, dtype=torch.uint8)
    for number, frame in enumerate(clip):
        top, left = number // columns * (height + 1), number % columns * (width + 1)
        sheet[:, top : top + height, left : left + width] = frame
    return sheet

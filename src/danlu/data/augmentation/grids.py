"""Images that keep their aspect on canvases of one size, with a last channel that marks their pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from danlu.data.augmentation.augment import Augment, Draws


def without_border(canvas: Tensor) -> Tensor:
    """The image (C, h, w) on a canvas uint8 (C + 1, S, S)."""
    marked = canvas[-1] > 0
    return canvas[:-1, marked.any(1)][:, :, marked.any(0)]


class GridAugment(Augment):
    """`Augment` with the transforms that keep the grid of patches: flips move the mark along, colours leave it out."""

    def _colour(self, images: Tensor, draws: Draws) -> Tensor:
        pixels, mark = images[:, :-1].float(), images[:, -1:] > 0
        # Contrast turns about the mean of the image, so that the border gets that mean.
        mean = (pixels * mark).sum((2, 3), keepdim=True) / mark.sum((2, 3), keepdim=True).clamp_min(1)
        return torch.cat([super()._colour(torch.where(mark, pixels, mean), draws), images[:, -1:].float()], 1)

    def _noise(self, images: Tensor, seeds: Tensor) -> Tensor:
        return torch.cat([super()._noise(images[:, :-1].contiguous(), seeds), images[:, -1:]], 1)

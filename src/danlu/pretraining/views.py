"""Transform of the methods with two views: each image is augmented twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from danlu.data.augmentation.augment import Augment, Draws, Normalise

GREY_FRACTION = 0.2  # of the views without colour (Chen et al. 2020, appendix A)
EVALUATION_SEED = 0
LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue (ITU-R BT.601)


@dataclass(frozen=True)
class ViewDraws:
    """Random numbers of the two views of n images. grey: whether each view loses its colour, bool (n, 2)."""

    first: Draws
    second: Draws
    grey: Tensor

    def rows(self, rows: slice) -> ViewDraws:
        """Select the random numbers of some samples, for example of one process."""
        return ViewDraws(self.first.rows(rows), self.second.rows(rows), self.grey[rows])


class ViewPair:
    """Transform of images to views (n, 2, C, S, S) in training, and to the image and two views (n, 3, C, S, S) else.

    augment: of each view. mean, std: normalisation per channel.
    """

    def __init__(self, augment: Augment, normalise: Normalise, mean: Sequence[float], std: Sequence[float]) -> None:
        self.augment, self.normalise = augment, normalise
        self._mean, self._std = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))

    def draw(self, rng: np.random.Generator, n: int) -> ViewDraws:
        """Draw the random numbers of a batch of n samples (over all processes)."""
        first, second = self.augment.draw(rng, n), self.augment.draw(rng, n)
        return ViewDraws(first, second, torch.from_numpy(rng.random((n, 2)) < GREY_FRACTION))

    def __call__(
        self, source: Tensor, index: Tensor | None, targets: Tensor, draws: ViewDraws | None
    ) -> tuple[Tensor, Tensor]:
        """Transform the selected images, as `Augment` does; without draws with fixed ones, for evaluation."""
        evaluated = draws is None
        if draws is None:
            draws = self.draw(np.random.default_rng(EVALUATION_SEED), len(source) if index is None else len(index))
        views = [self.normalise(source, index, targets)[0]] if evaluated else []
        for i, own in enumerate((draws.first, draws.second)):
            view = self.augment(source, index, targets, own)[0]
            views.append(self._without_colour(view, draws.grey[:, i].to(view.device)))
        return torch.stack(views, 1), targets

    def _without_colour(self, images: Tensor, grey: Tensor) -> Tensor:
        """Make the images `grey` (n,) of three channels grey; all are normalised."""
        if images.shape[1] != 3 or not grey.any():
            return images
        mean, std = self._mean.to(images.device), self._std.to(images.device)
        luma = ((images * std + mean) * torch.tensor(LUMA, device=images.device).view(-1, 1, 1)).sum(1, keepdim=True)
        return torch.where(grey.view(-1, 1, 1, 1), (luma - mean) / std, images)

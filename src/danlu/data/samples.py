"""Samples of a user's dataset, read one by one when a batch needs them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from danlu.data.dataset import Problem, Samples
from danlu.message import message
from danlu.refuse import Refusal, shortened


@dataclass(frozen=True)
class SampleReader:
    """Reads the samples of a batch. Random transforms inside a dataset draw from (seed, epoch, sample)."""

    samples: Samples
    seed: int

    def __call__(self, wanted: np.ndarray, epoch: int = 0) -> tuple[Tensor, list[int], list[Problem]]:
        """Sample numbers -> inputs (n, ...); no sample may be unreadable."""
        state = torch.get_rng_state()
        rows = [self._one(int(number), epoch) for number in wanted]
        torch.set_rng_state(state)
        return torch.stack(rows), [], []

    def some(self, index: Sequence[int]) -> Tensor:
        """The named samples (n, ...), as validation reads them."""
        return self(np.asarray(index))[0]

    def _one(self, number: int, epoch: int) -> Tensor:
        seed = int(np.random.SeedSequence([self.seed, epoch, number]).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (the generator that transforms of users draw from)
        torch.default_generator.manual_seed(seed)
        try:
            value = self.samples.read(self.samples.item(number))
        except Refusal:
            raise
        except Exception as error:
            why = shortened(error)
            raise Refusal(
                message(
                    "data.refuse.sample_dataset_cannot_read",
                    "sample {number} of the dataset cannot be read: {why}",
                    number=number,
                    why=why,
                )
            ) from error
        if tuple(value.shape) != self.samples.shape:
            raise Refusal(
                message(
                    "data.refuse.all_samples_dataset_shape",
                    "all samples of the dataset must have one shape, got {found} at sample {number} and "
                    "{shape} before; resize them in its transform, or return PIL images and give size=...",
                    found=str(tuple(value.shape)),
                    number=number,
                    shape=str(self.samples.shape),
                )
            )
        return value

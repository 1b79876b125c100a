"""Recognise a data loader that starts again, also where each epoch makes a new one for the same data."""

from __future__ import annotations

import contextlib
import weakref
from typing import Any


class LoaderKey:
    """Identity of a data loader that does not keep it alive.

    kind: its class. batches, samples: of an epoch, 0 for an iterable data set. repeats: it samples with replacement.
    weights: number of the weights of its sampler, 0 where it has none.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = weakref.ref(loader)
        self.kind, self.batches = type(loader).__name__, _length(loader)
        dataset = getattr(loader, "dataset", None)
        self.samples = _length(dataset)
        sampler = getattr(loader, "sampler", None)
        self.repeats = getattr(sampler, "replacement", False) is True
        self.weights = _length(getattr(sampler, "weights", None))
        self._data = (self.kind, type(dataset).__name__, self.samples, getattr(loader, "batch_size", None))

    def is_same(self, other: LoaderKey) -> bool:
        """Return whether both are one loader, or this one is gone and `other` loads as many samples in such batches."""
        mine = self._loader()
        if mine is not None:
            return mine is other._loader()
        return self.batches > 1 and self._data == other._data


def _length(loader: Any) -> int:
    with contextlib.suppress(TypeError):
        return len(loader)
    return 0  # an iterable data set

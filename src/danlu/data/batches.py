"""Batches of one split on the device: shuffled in each epoch, distributed over processes, transformed.

There is no generator state: the order of epoch e and the random numbers of batch b are functions of (seed, e, b). A
resumed run can therefore start at any batch of an epoch, and every process knows the complete order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from danlu.data.dataset import ImageFiles, Problem, Samples
from danlu.data.label_maps import MapSet
from danlu.data.object_set import ObjectSet
from danlu.message import message
from danlu.refuse import Failure

ORDER, AUGMENT = 0, 1  # independent streams of random numbers
MAX_BATCHES_AT_ONCE = 16  # transformed in one call
MAX_VALUES_AT_ONCE = 1 << 21  # input values transformed in one call


@dataclass(frozen=True)
class Batch:
    """Samples that one process trains on in one step: n of the batch's `count` samples over all processes.

    inputs: float32 (n, C, H, W) or (n, D). targets: int64 (n,), or float32 (n, K) after mixing, or float32 (n, T),
    or an `ObjectBatch`, or label maps uint8 (n, S, S). index: sample numbers in the dataset, int64 (n,). weight:
    factor for the mean loss of this process, so that gradients summed over the accumulated batches and averaged over
    the processes are those of the mean loss of all their samples.
    """

    inputs: Tensor
    targets: Any
    index: Tensor
    count: int
    weight: float


# Function of sample numbers and epoch: inputs (n, ...), the rows that could not be read, and why.
Decode = Callable[[np.ndarray, int], tuple[Tensor, list[int], list[Problem]]]

Wanted = tuple[np.ndarray, int]  # sample numbers of a batch, and the epoch


class Transform(Protocol):
    """Batched transform: draws random numbers for a batch of all processes, and applies those of one process."""

    def draw(self, rng: np.random.Generator, n: int) -> Any:
        """Draw the random numbers of n samples."""
        ...

    def __call__(self, source: Tensor, index: Tensor | None, targets: Any, draws: Any) -> tuple[Tensor, Any]:
        """Return the inputs and targets of the samples `index` of `source` (all: None), transformed by `draws`."""
        ...


class Columns:
    """Transform of table rows: selects them and leaves their values unchanged."""

    def draw(self, rng: np.random.Generator, n: int) -> None:
        """Return None: nothing here is random."""
        return None

    def __call__(self, source: Tensor, index: Tensor | None, targets: Tensor, draws: None) -> tuple[Tensor, Tensor]:
        """Return the rows `index` (N,) of a table (M, F) as (N, F), and the targets unchanged."""
        return (source if index is None else source.index_select(0, index)), targets


def epoch_order(index: np.ndarray, seed: int, epoch: int, classes: np.ndarray | None = None) -> np.ndarray:
    """Shuffle the samples of one epoch.

    index: sample numbers, int64 (n,). classes: class of each sample; if given, all classes are drawn equally often, by
    repeating samples of small classes and omitting samples of large ones. Returns n sample numbers.
    """
    rng = np.random.default_rng([seed, epoch, ORDER])
    if classes is None:
        return rng.permutation(index)
    members = [index[classes == k] for k in np.unique(classes)]
    per_class = -(-len(index) // len(members))
    drawn = [np.concatenate([rng.permutation(m) for _ in range(-(-per_class // len(m)))])[:per_class] for m in members]
    return rng.permutation(np.concatenate(drawn))[: len(index)]


class Batches:
    """Batches of one split.

    source: uint8 (N, C, H, W) or other tensors (N, ...) on the device, or `ImageFiles` or `Samples` read by worker
    processes.
    targets: (N,) or (N, T) on the device. index: samples of the split, int64 (n,). batch_size: over all processes.
    transform: applied to each batch. seed: None keeps the order (validation). last: "keep" the smaller last batch,
    "drop" it, or "carry" its samples over to the next epoch. min_last: a last batch of fewer samples is dropped in
    training, because batch norm needs two samples per process. classes: see `epoch_order`. accumulate: batches per
    optimiser step. rank, world: index of this process and number of processes. decode: reads the samples. workers:
    number of processes that read.
    """

    def __init__(
        self,
        source: Tensor | ImageFiles | Samples,
        targets: Tensor | ObjectSet | MapSet,
        index: Tensor,
        *,
        batch_size: int,
        transform: Transform,
        seed: int | None = None,
        last: Literal["keep", "drop", "carry"] = "keep",
        min_last: int = 1,
        classes: Tensor | None = None,
        accumulate: int = 1,
        rank: int = 0,
        world: int = 1,
        decode: Decode | None = None,
        workers: int = 0,
    ) -> None:
        self.source, self.targets = source, targets
        self.index = index.cpu().numpy()
        self.batch_size, self.last, self.min_last = batch_size, last, min_last
        self.transform, self.seed = transform, seed
        self.classes = None if classes is None else classes.cpu().numpy()
        self.accumulate = accumulate
        self.rank, self.world = rank, world
        self.decode, self.workers = decode, workers
        self._loader: torch.utils.data.DataLoader | None = None
        self.problems: list[Problem] = []  # files that became unreadable while training

    @property
    def samples(self) -> int:
        """Number of samples of the split."""
        return len(self.index)

    @property
    def batches_per_epoch(self) -> float:
        """Mean number of batches per epoch; not an integer if the last batch is carried over."""
        return self.samples / self.batch_size if self.last == "carry" else self.length()

    @property
    def _kept(self) -> int:
        """Samples per epoch with last="keep", without a last batch of fewer than `min_last` samples."""
        rest = self.samples % self.batch_size
        leave_out = self.seed is not None and 0 < rest < self.min_last and self.samples > self.batch_size
        return self.samples - rest if leave_out else self.samples

    def order(self, epoch: int) -> np.ndarray:
        """Samples of an epoch in the order of use, beginning with those carried over from the previous epoch."""
        if self.seed is None:
            return self.index
        order = epoch_order(self.index, self.seed, epoch, self.classes)
        if self.last == "carry":
            left = (epoch * self.samples) % self.batch_size
            if left:
                before = epoch_order(self.index, self.seed, epoch - 1, self.classes)
                order = np.concatenate([before[-left:], order])
        if self.last != "keep":
            return order[: len(order) // self.batch_size * self.batch_size]
        return order[: self._kept]

    def length(self, epoch: int = 0) -> int:
        """Number of batches of this epoch."""
        n = self.samples + ((epoch * self.samples) % self.batch_size if self.last == "carry" else 0)
        return -(-self._kept // self.batch_size) if self.last == "keep" else n // self.batch_size

    def samples_before(self, epoch: int, batch: int) -> int:
        """Number of samples in all batches before this one, from epoch 0 on and over all processes."""
        if self.last == "keep":
            return epoch * self.samples + min(batch * self.batch_size, self.samples)
        if self.last == "drop":
            return (epoch * self.length() + batch) * self.batch_size
        return (epoch * self.samples // self.batch_size + batch) * self.batch_size

    def closes_step(self, epoch: int, batch: int) -> bool:
        """Return whether the optimiser steps after this batch: every `accumulate` batches, and after the last."""
        return (batch + 1) % self.accumulate == 0 or batch + 1 == self.length(epoch)

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """Iterate over the batches of an epoch, beginning with number `start`."""
        order = self.order(epoch)
        total, length = len(order), self.length(epoch)
        on_device = torch.from_numpy(order).to(self.targets.device)
        decoded = None
        if self.decode is not None:
            decoded = self._decoded([(order[slice(*self._mine(b, total)[:2])], epoch) for b in range(start, length)])
        at_once = self._batches_at_once() if decoded is None else 1
        for head in range(start - start % at_once, length, at_once):
            tail = min(head + at_once, length)
            lo, hi = head * self.batch_size, min(tail * self.batch_size, total)
            draws = self._draws(epoch, head, hi - lo)
            if decoded is None and self.world == 1:
                rows = on_device[lo:hi]
                parts = (x.split(self.batch_size) for x in (*self._load(rows, draws), rows))
                for b, (inputs, targets, index) in enumerate(zip(*parts), head):
                    if b >= start:
                        yield Batch(inputs, targets, index, len(index), self._weight(b, len(index), total))
                continue
            for b in range(max(head, start), tail):
                first, end, count = self._mine(b, total)
                index, mine = on_device[first:end], draws
                if draws is not None and self.world > 1:
                    mine = draws.rows(slice(first - lo, end - lo))
                if decoded is not None:
                    inputs, targets, index = self._finish(*next(decoded), index, mine)
                else:
                    inputs, targets = self._load(index, mine)
                count_of_all = min((b + 1) * self.batch_size, total) - b * self.batch_size
                yield Batch(inputs, targets, index, count_of_all, self._weight(b, count, total))

    def _batches_at_once(self) -> int:
        """Number of batches to gather and transform in one call, which reduces the overhead of small batches."""
        if not isinstance(self.source, Tensor):
            return 1
        values = self.batch_size * self.source[0].numel()
        return max(1, min(MAX_BATCHES_AT_ONCE, MAX_VALUES_AT_ONCE // max(values, 1)))

    def _draws(self, epoch: int, head: int, n: int) -> Any:
        """Draw random numbers for n samples of all processes, from batch number `head` on; None without a seed."""
        if self.seed is None:
            return None
        return self.transform.draw(np.random.default_rng([self.seed, epoch, AUGMENT, head]), n)

    def _load(self, index: Tensor, draws: Any) -> tuple[Tensor, Any]:
        """Gather and transform samples in memory; returns inputs and targets."""
        source, targets = self.source, self.targets.index_select(0, index)
        assert isinstance(source, Tensor)
        if source.device == index.device:
            return self.transform(source, index, targets, draws)
        # The source is a cache on disk and the device a GPU: only the batch is copied.
        images = source.index_select(0, index.to(source.device)).to(index.device, non_blocking=True)
        return self.transform(images, None, targets, draws)

    def _finish(
        self, images: Tensor, void: list[int], problems: list[Problem], index: Tensor, draws: Any
    ) -> tuple[Tensor, Any, Tensor]:
        """Transform decoded images without the unreadable ones (rows `void`); returns inputs, targets and index."""
        if void:
            self.problems += problems
            rows = self._readable(len(index), void)
            images, index = images[rows], index[rows]
        images = images.to(self.targets.device, non_blocking=True)
        inputs, targets = self.transform(images, None, self.targets.index_select(0, index), draws)
        return inputs, targets, index

    def _mine(self, batch: int, total: int) -> tuple[int, int, int]:
        """Range of this process's samples of a batch, in the epoch's order: first, end, and their number.

        A process without a sample takes the first one with weight 0, so that the other processes do not wait for it.
        """
        lo, hi = batch * self.batch_size, min((batch + 1) * self.batch_size, total)
        each, extra = divmod(hi - lo, self.world)
        first = lo + self.rank * each + min(self.rank, extra)
        count = each + (self.rank < extra)
        return (first, first + count, count) if count else (lo, lo + 1, 0)

    def _weight(self, batch: int, count: int, total: int) -> float:
        """Compute `Batch.weight`: samples of this process, relative to its mean number in an accumulated group."""
        group = self.batch_size * self.accumulate
        begin = batch // self.accumulate * group
        return count * self.world / (min(begin + group, total) - begin)

    def _readable(self, n: int, void: list[int]) -> list[int]:
        """Rows of a batch without the unreadable ones, which are replaced by readable ones in training."""
        good = [row for row in range(n) if row not in void]
        if not good:
            raise Failure(
                message(
                    "data.refuse.image_batch_can_read",
                    "no image of a batch can be read any more: {where} and others",
                    where=self.problems[-1].where,
                )
            )
        if self.seed is None:
            return good
        return [good[row % len(good)] if row in void else row for row in range(n)]

    def _decoded(self, wanted: list[Wanted]) -> Iterator[tuple[Tensor, list[int], list[Problem]]]:
        """Iterate over the inputs of batches, prefetched by worker processes that persist across epochs."""
        assert self.decode is not None
        if self._loader is None:
            self._wanted = _Wanted()
            self._loader = torch.utils.data.DataLoader(
                _Decoding(self.decode),
                batch_size=None,
                sampler=self._wanted,
                num_workers=self.workers,
                prefetch_factor=4 if self.workers else None,
                persistent_workers=self.workers > 0,
                pin_memory=self.targets.device.type == "cuda",
            )
        self._wanted.batches = wanted
        return iter(self._loader)


class _Wanted(torch.utils.data.Sampler[Wanted]):
    """Sample numbers of the batches of an epoch, and the epoch; set before each epoch."""

    batches: list[Wanted]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Wanted]:
        return iter(self.batches)


class _Decoding(torch.utils.data.Dataset):
    """Dataset that reads a batch of sample numbers, for the worker processes of DataLoader."""

    def __init__(self, decode: Decode) -> None:
        self.decode = decode

    def __getitem__(self, wanted: Wanted) -> tuple[Tensor, list[int], list[Problem]]:
        return self.decode(*wanted)

"""Inputs of sampled batches: moments, blank samples, and a hash of each sample that shows repeats and leaks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.instruments.evaluated import WHOLE_EPOCH_FRACTION, Batch, held_out
from danlu.doctor.loss.graph import SELECTING, behind
from danlu.doctor.observation.budget import is_scheduled
from danlu.doctor.observation.watched_model import Pass, WatchedModel, tensors_in

HEAD = ("min", "max", "blank", "nonfinite", "equal by chance", "blank by chance")  # of the values of a batch
MAX_FEATURES = 256
UNLABELLED = -1
NARROW = 64  # values of a sample, at most, of which many samples are measured
MAX_NARROW, MAX_WIDE = 256, 32  # samples of a batch that are measured
MAX_POSITIONS = 64  # positions of an image used for the moments
MAX_HASHED = 512  # values per sample used for the hash
GOLDEN_RATIO = (5**0.5 - 1) / 2
HASH_STEPS = 2.0**34  # of the mantissa of a hash
CHECKED_EVALUATIONS = 2  # of which passes are measured whatever the time, to find those over the training set
WHOLE_SET = 0.98  # of the training samples checked; an evaluation that holds them goes over the training set
MAX_CLASSES = 100  # whose samples are counted
MIN_TRAINED = 64  # samples, fewer of which may all be evaluated by chance
LAST = 1 << 62  # place after all others
MAX_HASHES = 131_072  # about 16 MB; with augmentation every sample of every epoch is new


class Inputs(Instrument):
    """Write input.*"""

    name = "inputs"
    kept = (
        "_facts_written",
        "_moments",
        "_epoch",
        "_epoch_seen",
        "_conflicts",
        "_evaluated",
        "_evaluated_later",
        "_recurring",
        "_again",
        "_passes",
        "_sizes",
        "_largest",
        "_before_repeat",
    )

    def start(self, watched: WatchedModel) -> None:
        self._facts_written = False
        self._moments: dict[str, list[tuple[int, list[float]]]] = {"train": [], "val": []}
        self._seen: dict[str, dict[float, int]] = {"train": {}, "val": {}}  # hash -> label
        self._epoch: dict[str, list[int]] = {"train": [0, 0], "val": [0, 0]}  # samples, repeats
        self._epoch_seen: dict[str, dict[float, tuple[int, int]]] = {"train": {}, "val": {}}  # hash -> step, pass
        self._evaluated: dict[int, set[float]] = {}  # position of a pass in an evaluation -> hashes, over all epochs
        self._evaluated_later: set[float] = set()  # hashes of samples that were evaluated after training had used them
        self._passes = [0, 0]  # training and evaluation passes of this epoch
        self._sizes, self._largest = [0, 0], [0, 0]  # training and evaluated samples: of this epoch, of the largest
        self._recurring = 0  # training samples that had occurred in an earlier epoch
        self._again = [0, 0]  # labelled training samples that had come before, and those of them with another label
        self._conflicts: set[float] = set()
        self._before_repeat = -1  # training samples read before the first one that came again; -1: none yet
        self._weights: Tensor | None = None
        self._places: tuple[Tensor, int] = (torch.zeros(0, dtype=torch.int64), -1)  # and the number of values

    def before_forward(self, watched: WatchedModel, call: Pass) -> bool:
        first = next(tensors_in((call.args, call.kwargs)), None)
        if first is None or first.dim() == 0:
            return False
        if not self._facts_written:
            self._facts_written = True
            watched.write("input.dtype", str(first.dtype))
            watched.write("input.tokens", int(are_tokens(first.detach(), watched.inner)))
            watched.write("input.shape", list(first.shape))
        early = not call.grad and watched.epoch < CHECKED_EVALUATIONS and is_scheduled(self._passes[1] + 1)
        if not watched.may(self.name, call) and not early:
            return False
        if first.is_complex() or first.dtype == torch.bool or first.numel() == 0:
            return False
        call.notes["inputs"] = (first.shape[0], self._measure(first))
        return True

    def after_loss(self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> None:
        if "inputs" in call.notes and isinstance(targets, Tensor) and targets.dim() == 1:
            is_integer = not targets.is_floating_point()
            if is_integer and targets.shape[0] == call.notes["inputs"][0]:
                call.notes["labels"] = targets.detach()
        if "inputs" in call.notes and call.grad and isinstance(outputs, Tensor):
            call.notes["selected"] = is_selection(outputs, call.notes["inputs"][0])

    def settled(self, watched: WatchedModel, call: Pass) -> None:
        noted, labels = call.notes.pop("inputs", None), call.notes.pop("labels", None)
        selected = call.notes.pop("selected", False)
        if call.kind is not None:
            self._sizes[call.kind == "val"] += call.size
            self._passes[call.kind == "val"] += 1
        if noted is None or call.kind is None:
            return
        samples, values = noted
        joined = values if labels is None else torch.cat([values, labels.to(values.dtype)])
        phase, at, place = call.kind, (call.step, call.number), self._passes[1]
        labelled = labels is not None
        watched.deferred.add(
            joined, lambda numbers: self._read(phase, at, place, samples, numbers, labelled, whole=not selected)
        )

    def end_epoch(self, watched: WatchedModel) -> None:
        for phase in ("train", "val"):
            rows, self._moments[phase] = self._moments[phase], []
            if rows:
                self._write(watched, phase, rows)
            count, repeats = self._epoch[phase]
            if count:
                watched.write("input.hashed", len(self._seen[phase]), phase, watched.epoch)
                watched.write("input.repeated", repeats / count, phase, watched.epoch)
                if phase == "train" and repeats:
                    self._write_classes(watched)
                if phase == "train" and self._before_repeat >= 0:
                    watched.write("input.before_repeat", self._before_repeat, "", watched.epoch)
            self._epoch[phase], self._epoch_seen[phase] = [0, 0], {}
        if self._passes[0]:  # steps that the budget skipped are not observed
            self._sizes[0] += watched.skipped_steps * self._sizes[0] // self._passes[0]
        self._largest = [max(pair) for pair in zip(self._sizes, self._largest)]
        self._sizes, self._passes = [0, 0], [0, 0]
        if self._seen["val"]:
            self._write_leaks(watched)
            watched.write("input.label_conflicts", len(self._conflicts), "", watched.epoch)
            watched.write("input.label_changes", self._again[1] / max(1, self._again[0]), "", watched.epoch)

    def state(self, watched: WatchedModel) -> dict[str, Any]:
        seen = {  # as tensors, which are written faster than single numbers
            phase: (torch.tensor(list(labels), dtype=torch.float64), torch.tensor(list(labels.values())))
            for phase, labels in self._seen.items()
        }
        return super().state(watched) | {"seen": seen}

    def restore(self, watched: WatchedModel, state: dict[str, Any]) -> None:
        super().restore(watched, state)
        for phase, (hashes, labels) in state["seen"].items():
            self._seen[phase] = dict(zip(hashes.tolist(), map(int, labels.tolist())))

    def finish(self, watched: WatchedModel) -> None:
        self._seen, self._evaluated, self._evaluated_later = {"train": {}, "val": {}}, {}, set()

    def _measure(self, first: Tensor) -> Tensor:
        """[features] + HEAD + means + stds + one hash per sample, in double precision."""
        kind = torch.float32 if first.device.type == "mps" else torch.float64
        picked = first.detach()
        rows = picked.reshape(picked.shape[0], -1) if picked.dim() > 1 else picked[:, None]
        blank = (rows.amax(1) == rows.amin(1)).sum() if rows.shape[1] > 1 else rows.new_zeros(())
        subset = picked[:: stride(picked.shape[0], rows.shape[1])]
        if subset.dim() >= 3:
            subset = subset.flatten(2)
            places = scattered(subset.shape[2], MAX_POSITIONS).to(subset.device)
            subset = subset.index_select(2, places).movedim(1, -1).flatten(0, 1)
        elif subset.dim() == 1:
            subset = subset[:, None]
        subset = subset[:, :: max(1, subset.shape[1] // MAX_FEATURES)].to(kind)
        broken = (~rows.isfinite()).any(1).sum() if rows.is_floating_point() else rows.new_zeros(())
        means, stds = subset.mean(0), subset.std(0, correction=0)
        head = torch.stack([t.to(kind) for t in (rows.amin(), rows.amax(), blank, broken, *by_chance(rows, kind))])
        size = torch.tensor([means.numel()], dtype=kind, device=rows.device)
        return torch.cat([size, head, means, stds, self._hash(rows, kind)])

    def _hash(self, rows: Tensor, kind: torch.dtype) -> Tensor:
        count = rows.shape[1]
        if self._weights is None or self._places[1] != count or self._weights.device != rows.device:
            # The random generators of the training must not be used. Multiples of one irrational number would not do:
            # sums of them over different integers, as of tokens, are often equal.
            steps = torch.arange(1, min(count, MAX_HASHED) + 1, dtype=torch.float64)
            places = scattered(count, MAX_HASHED)
            self._weights = ((torch.sin(steps * 12.9898) * 43758.5453) % 1).to(kind).to(rows.device)
            self._places = (places.to(rows.device), count)
        sums = rows.index_select(1, self._places[0]).to(kind) @ self._weights
        mantissas, exponents = sums.frexp()  # the last bits of a sum depend on the number of rows
        return (mantissas * HASH_STEPS).round() * exponents.to(kind).exp2()

    def _read(
        self,
        phase: str,
        at: tuple[int, int],
        place: int,
        samples: int,
        numbers: list[float],
        labelled: bool,
        *,
        whole: bool,
    ) -> None:
        """Read a batch.

        Args:
            at: step and pass; the same sample twice within a step (LBFGS, pairs) is not a repeat.
            place: number of the pass in the evaluation of its epoch.
            whole: the loss was computed from all samples; else it is not known which of them were trained on.
        """
        features = int(numbers[0])
        self._moments[phase].append((samples, numbers[1 : 1 + len(HEAD) + 2 * features]))
        if phase == "train" and not whole:
            return
        rest = numbers[1 + len(HEAD) + 2 * features :]
        hashes, labels = rest[:samples], rest[samples:] if labelled else [float(UNLABELLED)] * samples
        if sorted(labels) == list(range(samples)):  # positions in the batch, as of a contrastive loss
            labels = [float(UNLABELLED)] * samples
        seen, epoch = self._seen[phase], self._epoch_seen[phase]
        if phase == "val" and len(seen) < MAX_HASHES:
            self._evaluated.setdefault(place, set()).update(hashes)
            self._evaluated_later.update(self._seen["train"].keys() & set(hashes))
        for sample, label in zip(hashes, labels):
            step, number = epoch.get(sample, (-1, -1))
            again = step not in (-1, at[0]) or number == at[1]
            self._epoch[phase][1] += again
            if again and phase == "train" and self._before_repeat < 0:
                self._before_repeat = len(epoch)
            self._recurring += phase == "train" and step == -1 and sample in seen
            epoch[sample] = at
            known = seen.get(sample, int(label))
            told = labelled and int(label) != UNLABELLED
            if phase == "train" and told and known != UNLABELLED and sample in seen:
                self._again[0] += 1
                self._again[1] += known != int(label)
                if known != int(label):
                    self._conflicts.add(sample)
            if len(seen) < MAX_HASHES:
                seen[sample] = int(label) if told else known
        self._epoch[phase][0] += samples

    def _write_classes(self, watched: WatchedModel) -> None:
        """Count the distinct training samples of each class, where some samples came more than once in the epoch."""
        labels = self._seen["train"].values()
        if all(0 <= label < MAX_CLASSES for label in labels):
            counts = [0] * (max(labels) + 1)
            for label in labels:
                counts[label] += 1
            watched.write("input.class_samples", counts, "", watched.epoch)

    def _write_leaks(self, watched: WatchedModel) -> None:
        """Compare the held-out samples of the evaluations so far with those of training."""
        trained, places = self._seen["train"], sorted(self._evaluated)
        count, evaluated = self._largest
        coverage = min(1.0, len(trained) / count) if count else 1.0
        known = {place: len(self._evaluated[place] & trained.keys()) for place in places}
        batches = [Batch(len(self._evaluated[place]), known[place]) for place in places]
        chosen = held_out(batches, coverage, evaluated, count)
        everyone: set[float] = set().union(*self._evaluated.values())
        met = trained.keys() & everyone
        many = len(trained) >= MIN_TRAINED and len(met) >= WHOLE_SET * len(trained)
        # Samples that are run in one order, some of which were checked in training, look like several runs of passes.
        in_order = many and len(everyone) <= count
        if in_order or (len(chosen) == len(places) and (many or everyone == trained.keys())):
            chosen = range(0)
        if 0 < len(chosen) < len(places):
            first = places[chosen.start] if chosen.start else 1
            last = places[chosen.stop - 1] if chosen.stop < len(places) else LAST
            watched.write("input.held_out_passes", [first, last], "", watched.epoch)
        kept = [places[index] for index in chosen]
        held: set[float] = set().union(*(self._evaluated[place] for place in kept))
        # Samples that are new in each epoch are those of an agent, which meets them without gradients before.
        is_new = watched.epoch > 0 and not self._recurring
        leaked = len(held & (self._evaluated_later if is_new else trained.keys()))
        watched.write("input.held_out", len(held), "", watched.epoch)
        only_trained = not held and evaluated * WHOLE_EPOCH_FRACTION <= count
        watched.write("input.only_trained", int(only_trained), "", watched.epoch)
        watched.write("input.leaked", leaked, "", watched.epoch)
        watched.write("input.leaked_fraction", leaked / max(1, len(held)), "", watched.epoch)

    def _write(self, watched: WatchedModel, phase: str, rows: list[tuple[int, list[float]]]) -> None:
        width = len(rows[0][1])
        rows = [row for row in rows if len(row[1]) == width]
        total = sum(samples for samples, _ in rows)
        head = len(HEAD)
        count = (width - head) // 2
        means = [sum(n * r[head + i] for n, r in rows) / total for i in range(count)]
        squares = [
            sum(n * (r[head + count + i] ** 2 + r[head + i] ** 2) for n, r in rows) / total for i in range(count)
        ]
        stds = [max(square - mean**2, 0.0) ** 0.5 for square, mean in zip(squares, means)]
        mean = sum(means) / count
        for name, value in (
            ("input.mean", mean),
            ("input.std", max(sum(squares) / count - mean**2, 0.0) ** 0.5),
            ("input.min", min(r[0] for _, r in rows)),
            ("input.max", max(r[1] for _, r in rows)),
            ("input.constant", int(sum(r[2] for _, r in rows))),
            ("input.nonfinite", int(sum(r[3] for _, r in rows))),
            ("input.equal_by_chance", sum(n * r[4] for n, r in rows) / total),
            ("input.constant_by_chance", sum(n * r[5] for n, r in rows) / total),
            ("input.samples", total),
            ("input.measured", sum(len(range(0, samples, stride(samples, count))) for samples, _ in rows)),
            ("input.feature_means", means),
            ("input.feature_stds", stds),
        ):
            watched.write(name, value, phase, watched.epoch)


def are_tokens(inputs: Tensor, model: nn.Module) -> bool:
    """Return whether inputs are integers: of an integer type, or floats that are rows of an embedding of the model."""
    if not inputs.is_floating_point() or inputs.numel() == 0 or not torch.equal(inputs, inputs.round()):
        return not inputs.is_floating_point() and not inputs.is_complex() and inputs.dtype != torch.bool
    tables = [one for one in model.modules() if isinstance(one, nn.Embedding | nn.EmbeddingBag)]
    rows = max((one.num_embeddings for one in tables), default=0)
    return bool(inputs.min() >= 0) and bool(inputs.max() < rows)


def by_chance(rows: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """Probability that two samples are equal, and that one is blank, where the values are independent of each other.

    Both matter for a few values with few levels, such as short binary sequences. rows: (N, D). The probability that two
    samples agree is the product of those of the columns; that a sample is blank, that of D - 1 neighbours to agree.
    """
    count, width = rows.shape
    if count < 2 or not 1 < width <= NARROW:
        return rows.new_zeros(()), rows.new_zeros(())
    columns = (rows == rows.roll(1, 0)).to(kind).mean(0)
    neighbours = (rows[:, 1:] == rows[:, :-1]).to(kind).mean()
    return columns.prod(), neighbours ** (width - 1)


def is_selection(outputs: Tensor, samples: int) -> bool:
    """Return whether outputs given to a loss are those of some samples, as of the labelled nodes of a graph."""
    fewer = outputs.dim() > 0 and outputs.shape[0] < samples
    return fewer and any(node.name() in (*SELECTING, "SliceBackward0") for node in behind(outputs.grad_fn))


def stride(samples: int, values: int) -> int:
    """Distance of the samples of a batch whose values are measured: few where a sample holds many values."""
    return max(1, samples // (MAX_NARROW if values <= NARROW else MAX_WIDE))


def scattered(count: int, max_count: int) -> Tensor:
    """Return up to `max_count` fixed indices below `count`, spread by the golden ratio.

    Evenly spaced indices would fall into a subset columns of an image, possibly its blank margin.
    """
    if count <= max_count:
        return torch.arange(count)
    return ((torch.arange(1, max_count + 1, dtype=torch.float64) * GOLDEN_RATIO) % 1 * count).long()

"""Loss, accuracy, predictions and labels, per step and per epoch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from danlu.doctor.graph import last_activation
from danlu.doctor.instruments.base import Instrument
from danlu.doctor.losses import kind_by_graph, kind_of
from danlu.doctor.watched_model import Pass, WatchedModel

MAX_CLASSES = 1000
MIN_BATCHES = 4  # measured batches for the accuracy of an epoch, if it has as many
# A label is contradicted if its probability is below the first and that of another class above the second.
MAX_LABEL_PROBABILITY, MIN_CONFIDENCE = 0.1, 0.8


class LossAndAccuracy(Instrument):
    """Write loss.*, accuracy.*, class.*, label.*, output.*, target.*, batch.*, epoch.*"""

    name = "loss_and_accuracy"

    def start(self, watched: WatchedModel) -> None:
        self._known = 0  # facts written: 0 none, 1 from a pass without gradients, 2 all
        self._micro: list[Tensor] = []
        self._sizes = 0
        self._last_size = 0
        self._sums = {"train": EpochSums(), "val": EpochSums()}
        self._label_counts: Tensor | None = None

    def after_loss(self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> bool:
        outputs = outputs if isinstance(outputs, Tensor) else None
        targets = targets if isinstance(targets, Tensor) else None
        if self._known < 1 + call.grad:
            self._write_facts(watched, call, loss, outputs, targets)
        if loss.requires_grad and (watched.step <= 3 or watched.step % 32 == 0) and not loss.is_leaf:
            step = watched.step
            loss.register_hook(lambda g: watched.write_deferred("loss.scale", g.mean(), "", step))
        size = outputs.shape[0] if outputs is not None and outputs.dim() else call.size
        if size > call.size and size % call.size == 0:  # several predictions per sample, in rows
            size = call.size
        call.notes["loss_and_accuracy"] = {"loss": loss.detach().mean() if loss.dim() else loss.detach(), "size": size}
        if outputs is None or targets is None:
            return False
        if not watched.may(self.name, call):
            return False
        call.notes["loss_and_accuracy"] |= measured(outputs.detach(), targets.detach())
        return True

    def settled(self, watched: WatchedModel, call: Pass) -> None:
        outcome = call.notes.pop("loss_and_accuracy", None)
        if outcome is None:
            return
        self._sums[call.kind or "val"].add(outcome)
        if call.kind == "train":
            self._micro.append(outcome["loss"])
            self._sizes += outcome["size"]
            self._write_batch(watched, call, outcome)

    def after_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> None:
        if not self._micro:
            return
        losses, self._micro = self._micro, []
        watched.write_deferred("loss.step", losses[0] if len(losses) == 1 else torch.stack(losses).mean())
        if self._sizes != self._last_size:
            watched.write("batch.size", self._sizes)
            self._last_size = self._sizes
        self._sizes = 0

    def validated(self, watched: WatchedModel, outputs: Tensor, targets: Tensor) -> None:
        sums = EpochSums()
        sums.add_predictions(measured(outputs, targets))
        sums.write_predictions(watched, "val")

    def end_epoch(self, watched: WatchedModel) -> None:
        if self._micro:  # no optimizer step in this epoch
            for loss in self._micro:
                watched.write_deferred("loss.step", loss)
            self._micro, self._sizes = [], 0
        for phase, sums in self._sums.items():
            if sums.batches:
                sums.write_all(watched, phase)
            self._sums[phase] = EpochSums()

    def _write_batch(self, watched: WatchedModel, call: Pass, outcome: dict) -> None:
        if "correct" in outcome:
            watched.write_deferred("accuracy.step", outcome["correct"] / max(1, outcome["counted"]), "", call.step)
        if "spread" in outcome:
            for name, value in zip(("output.mean", "output.std", "output.sample_std"), outcome["spread"]):
                watched.write_deferred(name, value, "", call.step)
        counts = outcome.get("actual")
        if counts is None:
            return
        if outcome["outside"] is not None:
            step = call.step
            watched.deferred.add(
                outcome["outside"],
                lambda n: watched.ledger.add("target.outside", n[0], "", step) if n[0] else None,
            )
        total = counts.sum()
        seen = self._label_counts
        self._label_counts = counts.clone() if seen is None else seen + counts
        if seen is not None:
            shares = seen / seen.sum().clamp(min=1)
            distance = (counts / total.clamp(min=1) - shares).abs().sum() / 2
            spread = (shares * (1 - shares)).sqrt().sum() * (2 / torch.pi) ** 0.5 / total.clamp(min=1).sqrt() / 2
            watched.write_deferred("batch.label_distance", distance, "", call.step)
            watched.write_deferred("batch.label_distance_expected", spread, "", call.step)

    def _write_facts(
        self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Tensor | None, targets: Tensor | None
    ) -> None:
        self._known = 1 + call.grad
        function = watched.last_call[0] if watched.last_call else None
        by = call.notes.get("loss_by", "")
        kind = watched.ledger.last("loss.kind")
        if kind is None and (call.grad or kind_of(function)):
            kind = kind_of(function) or kind_by_graph(loss) or getattr(function, "__name__", type(function).__name__)
            watched.write("loss.kind", str(kind))
        watched.write("loss.seen_by", by)
        watched.write("loss.graph", loss.grad_fn.name() if loss.grad_fn is not None else "")
        if call.grad:
            watched.write("loss.attached", int(loss.requires_grad))
            watched.write_deferred("loss.initial", loss.detach().mean())
        weights = getattr(function, "weight", None)
        if kind in ("cross_entropy", "nll") and isinstance(weights, Tensor) and weights.dim() == 1:
            watched.write("loss.class_weights", weights.tolist())
        if torch.is_autocast_enabled(watched.device.type):
            short = str(torch.get_autocast_dtype(watched.device.type)).removeprefix("torch.")
            watched.write("run.precision", f"autocast-{short}")
        elif outputs is not None:
            watched.write("run.precision", str(outputs.dtype).removeprefix("torch."))
        if outputs is not None:
            watched.write("output.shape", list(outputs.shape))
            watched.write("output.count", outputs.shape[1] if outputs.dim() > 1 else 1)
            if outputs.grad_fn is not None:  # without a graph the activation is unknown
                found = last_activation(outputs.grad_fn)
                watched.write("output.activation", found[0] if found else "none")
            watched.write("output.rows", outputs.shape[0] / max(1, call.size) if outputs.dim() else 1.0)
        if targets is None:
            return
        watched.write("target.shape", list(targets.shape))
        watched.write("target.dtype", str(targets.dtype))
        watched.write("target.kind", target_kind(targets))
        values = targets.detach().float()
        watched.write("target.distinct", int(values.unique().numel()))
        watched.write("target.whole", int(bool((values == values.round()).all())))
        alike = kind in ("mse", "l1", "smooth_l1", "huber", "bce_logits")
        if outputs is not None and alike and outputs.shape != targets.shape:
            watched.write("target.broadcast", f"{list(outputs.shape)} against {list(targets.shape)}")


class EpochSums:
    """Sums over one phase of an epoch, kept on the device."""

    def __init__(self) -> None:
        self.batches = self.samples = self.first_size = self.last_size = self.counted = 0
        self.measured = 0
        self.sums: dict[str, Tensor] = {}
        self.last: dict[str, Any] = {}

    def add(self, outcome: dict[str, Any]) -> None:
        size = outcome["size"]
        self.first_size = self.first_size or size
        self.batches += 1
        self.samples += size
        self.last_size, self.last = size, outcome
        self._sum("loss", outcome["loss"] * size)
        self._sum("batch_loss", outcome["loss"])
        if "correct" in outcome:
            self.measured += 1
            self._sum("batch_accuracy", outcome["correct"] / max(1, outcome["counted"]))
        self.add_predictions(outcome)

    def add_predictions(self, outcome: dict[str, Any]) -> None:
        self.counted += outcome.get("counted", 0)
        for name in ("correct", "predicted", "actual", "hits", "sure", "top_third", "moments", "extremes"):
            if name in outcome:
                self._sum(name, outcome[name])

    def _sum(self, name: str, value: Tensor) -> None:
        old = self.sums.get(name)
        if old is None:
            self.sums[name] = value.clone()
        elif name == "extremes":
            self.sums[name] = torch.maximum(old, value)
        elif old.shape == value.shape:
            self.sums[name] = old + value

    def write_all(self, watched: WatchedModel, phase: str) -> None:
        epoch = watched.epoch
        for name, value in (
            ("epoch.samples", self.samples),
            ("epoch.batches", self.batches),
            ("epoch.measured", self.measured),
            ("epoch.last_batch_size", self.last_size),
        ):
            watched.write(name, value, phase, epoch)
        values = self._on_host()
        write = lambda name, value: watched.write(name, value, phase, epoch)  # noqa: E731
        write("loss.mean", float(values["loss"]) / max(1, self.samples))
        write("loss.batch_mean", float(values["batch_loss"]) / self.batches)
        write("loss.last_batch", float(self.last["loss"]))
        skipped_steps = watched.skipped_steps if phase == "train" else 0
        if "correct" in values and self.counted and self.measured >= min(MIN_BATCHES, self.batches + skipped_steps):
            write("accuracy.mean", float(values["correct"]) / self.counted)
            write("accuracy.batch_mean", float(values["batch_accuracy"]) / self.measured)
            if self.measured == self.batches and not skipped_steps:
                write("accuracy.padded", float(values["correct"]) / (self.first_size * self.batches))
            if "correct" in self.last:
                write("accuracy.last_batch", float(self.last["correct"]) / max(1, self.last["counted"]))
        self.write_predictions(watched, phase)

    def write_predictions(self, watched: WatchedModel, phase: str) -> None:
        """Write the values that do not depend on the division into batches."""
        values = self._on_host()
        write = lambda name, value: watched.write(name, value, phase, watched.epoch)  # noqa: E731
        if "actual" in values and self.counted:
            actual, predicted, hits = values["actual"], values["predicted"], values["hits"]
            write("class.predicted", (predicted / predicted.sum().clamp(min=1)).tolist())
            write("class.actual", (actual / actual.sum().clamp(min=1)).tolist())
            write("class.correct", torch.where(actual > 0, hits / actual.clamp(min=1), -1.0).tolist())
        if "sure" in values and self.counted:
            contradicted, confident, right, entropy = (values["sure"] / self.counted).tolist()
            write("label.contradicted", contradicted)
            write("label.confident", confident)
            write("label.confident_correct", right / confident if confident else 0.0)
            write("class.entropy", entropy)
        if "top_third" in values:
            right, count = values["top_third"].tolist()
            write("label.surest_correct", right / count)
        if "extremes" in values:
            write("target.min", -float(values["extremes"][0]))
            write("target.max", float(values["extremes"][1]))
        if "moments" in values:
            count, total, squares, errors = values["moments"].tolist()
            variance = max(squares / count - (total / count) ** 2, 0.0)
            write("target.mean", total / count)
            write("target.std", variance**0.5)
            if variance > 0:
                write("explained.mean", 1 - errors / count / variance)

    def _on_host(self) -> dict[str, Tensor]:
        return {
            name: value.double().cpu() if value.device.type != "mps" else value.cpu()
            for name, value in self.sums.items()
        }


def target_kind(targets: Tensor) -> str:
    """Return the kind of targets: classes, one_hot, binary or values."""
    if not targets.is_floating_point():
        return "binary" if targets.dtype == torch.bool else "classes"
    if not bool(((targets == 0) | (targets == 1)).all()):
        return "values"
    rows = targets.flatten(1) if targets.dim() > 1 else targets[:, None] if targets.dim() else targets.reshape(1, 1)
    return "one_hot" if rows.shape[1] > 1 and bool((rows.sum(1) == 1).all()) else "binary"


def measured(outputs: Tensor, targets: Tensor) -> dict[str, Any]:
    """Count predictions of one batch, for classes, binary targets or values; tensors stay on their device."""
    whole = not targets.is_floating_point() and outputs.is_floating_point()
    if whole and outputs.dim() >= 2 and outputs.shape[1] > 1 and targets.dim() == outputs.dim() - 1:
        return _classes(outputs, targets)
    if outputs.shape != targets.shape and outputs.numel() != targets.numel():
        return {}
    return _values(outputs, targets)


def _spread(outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    values = outputs.float()
    by_sample = values.reshape(values.shape[0], -1) if values.dim() else values.reshape(1, 1)
    deviation = by_sample.std(0, correction=0).mean()
    return values.mean(), values.std(correction=0), deviation


def _classes(outputs: Tensor, targets: Tensor) -> dict[str, Any]:
    """outputs (N, K, ...): scores, log-probabilities or probabilities; targets (N, ...): integers."""
    classes = outputs.shape[1]
    scores = outputs.float().movedim(1, -1).reshape(-1, classes)
    labels = targets.reshape(-1).long()
    inside = (labels >= 0) & (labels < classes)
    labels = labels.clamp(0, classes - 1)
    guess = scores.argmax(1)
    right = (guess == labels) & inside
    total = scores.exp().sum(1)
    normal = ((total - 1).abs() < 1e-3).all()  # log-probabilities; softmax leaves them unchanged
    already = ((scores.sum(1) - 1).abs() < 1e-3).all() & (scores >= 0).all() & ~normal
    chances = torch.where(already, scores, torch.softmax(scores, 1))
    top = chances.amax(1)
    own = chances.gather(1, labels[:, None])[:, 0]
    sure = (top > MIN_CONFIDENCE) & inside
    entropy = -(chances * chances.clamp(min=1e-12).log()).sum(1)
    result = {
        "correct": right.sum(),
        "counted": labels.numel(),
        "top_third": top_third_correct(top, right),
        "spread": _spread(outputs),
        "sure": torch.stack(
            [(sure & (own < MAX_LABEL_PROBABILITY)).sum(), sure.sum(), (sure & right).sum(), entropy.sum()]
        ).double()
        if outputs.device.type != "mps"
        else torch.stack(
            [
                (sure & (own < MAX_LABEL_PROBABILITY)).sum().float(),
                sure.sum().float(),
                (sure & right).sum().float(),
                entropy.sum(),
            ]
        ),
        "extremes": torch.stack([-targets.min(), targets.max()]).float(),
    }
    if classes <= MAX_CLASSES:
        ones, zero = inside.float(), torch.zeros(classes, device=outputs.device)
        result["actual"] = zero.index_add(0, labels, ones)
        result["predicted"] = zero.index_add(0, guess, ones)
        result["hits"] = zero.index_add(0, labels, right.float())
        # -100 is the ignore_index of torch's losses; other negative labels and labels >= K are outside.
        result["outside"] = (~inside & (targets.reshape(-1) != -100)).sum()
    return result


def top_third_correct(certainty: Tensor, right: Tensor) -> Tensor:
    """Count the correct predictions among the top-scoring third of a batch: (correct, size of that third)."""
    third = max(1, len(right) // 3)
    picked = right[certainty.topk(third).indices].float().sum()
    return torch.stack([picked, torch.full_like(picked, third)])


def _values(outputs: Tensor, targets: Tensor) -> dict[str, Any]:
    """Values, or binary targets: an accuracy only where the targets are 0 and 1."""
    guess, truth = outputs.float().reshape(-1), targets.float().reshape(-1)
    yes_no = bool(((truth == 0) | (truth == 1)).all()) if truth.device.type == "cpu" else targets.dtype == torch.bool
    result: dict[str, Any] = {
        "spread": _spread(outputs),
        "extremes": torch.stack([-truth.min(), truth.max()]),
        "moments": torch.stack(
            [
                torch.full_like(truth[0], truth.numel()),
                truth.sum(),
                truth.square().sum(),
                (guess - truth).square().sum(),
            ]
        ),
    }
    if yes_no and outputs.shape == targets.shape and (outputs.dim() == 1 or outputs.shape[-1] == 1):
        # Probabilities are above one half where logits are above zero.
        are_chances = (guess.amin() >= 0) & (guess.amax() <= 1)
        said = torch.where(are_chances, guess > 0.5, guess > 0)
        right = said == (truth > 0.5)
        result |= {"correct": right.sum(), "counted": truth.numel()}
        result["top_third"] = top_third_correct((guess - torch.where(are_chances, 0.5, 0.0)).abs(), right)
        counts = truth.sum()
        result["actual"] = torch.stack([truth.numel() - counts, counts])
        positive = said.float().sum()
        result["predicted"] = torch.stack([truth.numel() - positive, positive])
        hit = (said & (truth > 0.5)).float().sum()
        result["hits"] = torch.stack([((~said) & (truth <= 0.5)).float().sum(), hit])
        result["outside"] = None
    elif outputs.dim() == 2 and outputs.shape == targets.shape and yes_no and outputs.shape[1] <= MAX_CLASSES:
        one_hot = targets.float()
        best, label = outputs.argmax(1), one_hot.argmax(1)
        zero, ones = torch.zeros(outputs.shape[1], device=outputs.device), torch.ones(len(best), device=outputs.device)
        result |= {"correct": (best == label).sum(), "counted": len(best), "outside": None}
        result["actual"] = zero.index_add(0, label, ones)
        result["predicted"] = zero.index_add(0, best, ones)
        result["hits"] = zero.index_add(0, label, (best == label).float())
    return result

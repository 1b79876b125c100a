"""The training loop: read this first. It knows no task, no format and no network by name."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from danlu.data.batches import Batch, Batches
from danlu.engine.evaluate import evaluate
from danlu.engine.norm_statistics import NormStatistics
from danlu.learning.regularise import DropoutSchedule, WeightAverage, WeightConstraints
from danlu.learning.schedules import Plateau
from danlu.message import message
from danlu.refuse import Failure
from danlu.run.best_epoch import SMALL_VALIDATION, WINDOW, Score, compares, score, smoothed
from danlu.run.names import metric_message
from danlu.run.record import Record
from danlu.tasks.task import Evaluation, Task

if TYPE_CHECKING:
    from lightning_fabric import Fabric

BATCHES_PER_SUM = 16  # batches whose losses and metrics are added to the totals in one operation


@dataclass
class Plan:
    """Everything one training needs, assembled by `preparation/assemble.py`.

    module: the network itself, which is saved and evaluated. training_model: the same network wrapped for the training
    step: compiled, in the run's precision, and with gradients averaged over processes. hooked_module: the module
    inside `training_model` to which the doctor attaches its hooks.
    train, val: batches; val is None without a validation set. schedule: step -> factor of the peak learning rate.
    plateau: cuts the learning rate when the validation loss stops improving. average: moving average of the weights.
    norms: recomputes the statistics of batch norm before each validation. views: see `evaluate`. clip_norm, clip_value:
    see `OptimConfig`. constraints: applied to the weights after each step. patience: epochs without improvement before
    stopping. log_every: steps between rows of the record.
    """

    fabric: Fabric
    task: Task
    module: nn.Module
    training_model: Callable[..., Any]
    hooked_module: nn.Module
    optimizer: torch.optim.Optimizer
    train: Batches
    val: Batches | None
    epochs: int
    schedule: Callable[[int], float]
    plateau: Plateau | None = None
    average: WeightAverage | None = None
    dropout: DropoutSchedule | None = None
    norms: NormStatistics | None = None
    views: Callable[[Tensor], list[Tensor]] | None = None
    clip_norm: float | None = None
    clip_value: float | None = None
    constraints: WeightConstraints | None = None
    patience: int | None = None
    seed: int = 0
    log_every: int = 50


@dataclass
class Progress:
    """State of a training besides weights and optimiser, in plain values; saved with every checkpoint."""

    epoch: int = 0  # epochs finished
    batch: int = 0  # batches finished in the current epoch
    step: int = 0  # optimiser steps
    best: Score | None = None  # larger is better
    recent: list[Score] = field(default_factory=list)  # of the last epochs, where the validation set is small
    best_epoch: int = 0
    stopped: str | None = None
    seconds: float = 0.0  # spent on training batches
    earlier: float = 0.0  # seconds of the training before it was resumed
    rows: int = 0  # rows of the record
    rows_checksum: int | None = 0  # of these rows
    totals: dict[str, float] = field(default_factory=dict)  # sums over the current epoch's samples
    samples: int = 0  # samples in those sums
    running: Totals | None = None  # the same on the device, while an epoch runs


class Watcher:
    """Base of callbacks of a training: the display, checkpoints and the doctor."""

    def on_start(self, plan: Plan, progress: Progress) -> None:
        """Called before the first batch, also of a resumed training."""

    def on_loss(self, plan: Plan, loss: Tensor, batch: Batch) -> None:
        """Called with the loss of a batch, before its backward pass."""

    def on_batch(self, plan: Plan, progress: Progress, parts: dict[str, Tensor]) -> None:
        """Called after each batch. parts: the scalars of `Task.loss`."""

    def on_validation(self, plan: Plan, evaluation: Evaluation) -> None:
        """Called in every process with the outputs and targets of the validation set."""

    def on_epoch(self, plan: Plan, progress: Progress, row: dict[str, Any], improved: bool) -> None:
        """Called after each epoch. row: its entry of the record. improved: it is the best epoch so far."""

    def on_end(self, plan: Plan, progress: Progress) -> None:
        """Called after the last epoch, not after an interruption."""


def fit(
    plan: Plan, progress: Progress, record: Record, watchers: list[Watcher], stop: Callable[[], str | None]
) -> None:
    """Train until all epochs are done, patience runs out, or `stop()` returns a reason. Updates `progress` in place."""
    began = time.perf_counter()
    for watcher in watchers:
        watcher.on_start(plan, progress)
    while progress.epoch < plan.epochs and progress.stopped is None:
        seconds, samples = progress.seconds, samples_trained(plan, progress)
        means = train_epoch(plan, progress, record, watchers, stop)
        if progress.stopped is not None:
            return
        speed = _speed(samples_trained(plan, progress) - samples, progress.seconds - seconds)
        if speed is None:  # resumed after the last batch of an epoch: the mean since the start
            speed = _speed(samples_trained(plan, progress), progress.seconds)
        metrics = validate(plan, watchers)
        improved = _update_best(plan, progress, metrics)
        progress.epoch, progress.batch = progress.epoch + 1, 0
        row = {f"train.{k}": v for k, v in means.items()} | {f"val.{k}": v for k, v in metrics.items()}
        row |= {
            "lr": _lr(plan),
            "seconds": progress.earlier + time.perf_counter() - began,
            "samples_per_second": speed or 0.0,
        }
        record.add("epoch", epoch=progress.epoch, step=progress.step, values=row)
        progress.rows, progress.rows_checksum = len(record.rows), record.checksum
        for watcher in watchers:
            watcher.on_epoch(plan, progress, row, improved)
    for watcher in watchers:
        watcher.on_end(plan, progress)


def samples_trained(plan: Plan, progress: Progress) -> int:
    """Number of samples trained on since the start of the training, over all processes."""
    return plan.train.samples_before(progress.epoch, progress.batch)


def validate(plan: Plan, watchers: Sequence[Watcher] = ()) -> dict[str, float]:
    """Compute metrics on the validation set, with the averaged weights if there are any; {} without that set."""
    if plan.val is None:
        return {}
    model = plan.average.model if plan.average else plan.module
    if plan.norms is not None:
        plan.norms.refresh(model)
    if plan.fabric.world_size > 1:  # batch norm statistics differ between processes; use those of the first
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, src=0)
    evaluation = evaluate(plan.fabric, plan.task, model, plan.val, plan.views)
    for watcher in watchers:
        watcher.on_validation(plan, evaluation)
    return plan.task.metrics(evaluation)


def train_epoch(
    plan: Plan, progress: Progress, record: Record, watchers: list[Watcher], stop: Callable[[], str | None]
) -> dict[str, float]:
    """Train for one epoch, from `progress.batch` on. Return the means of the logged scalars over its samples."""
    plan.module.train()
    totals = progress.running = Totals(progress.totals, progress.samples)
    length = plan.train.length(progress.epoch)
    since = time.perf_counter()
    for batch in plan.train.epoch(progress.epoch, start=progress.batch):
        parts = train_batch(plan, progress, batch, watchers)
        totals.add(parts, batch)
        progress.batch += 1
        now = time.perf_counter()
        progress.seconds, since = progress.seconds + now - since, now
        if progress.step % plan.log_every == 0 and plan.train.closes_step(progress.epoch, progress.batch - 1):
            loss = _finite(parts["loss"].item(), progress)
            values = {"train.loss": loss, "lr": _lr(plan)}
            record.add("step", epoch=progress.epoch + 1, step=progress.step, values=values)
            progress.rows, progress.rows_checksum = len(record.rows), record.checksum
        for watcher in watchers:
            watcher.on_batch(plan, progress, parts)
        closed = plan.train.closes_step(progress.epoch, progress.batch - 1)
        if progress.batch < length and closed and (reason := stop()):
            progress.stopped = reason
            break
        since = time.perf_counter()
    (progress.totals, progress.samples), progress.running = totals.state(), None
    if progress.stopped is not None:
        return {}
    means = totals.means(plan.fabric)
    _finite(means["loss"], progress)
    progress.totals, progress.samples = {}, 0
    return means


def train_batch(plan: Plan, progress: Progress, batch: Batch, watchers: Sequence[Watcher] = ()) -> dict[str, Tensor]:
    """Run forward and backward passes and, at the end of an accumulation group, one optimiser step."""
    _seed(plan, progress)
    _set_lr(plan, progress)
    closes = plan.train.closes_step(progress.epoch, progress.batch)
    model = plan.training_model
    # Inside an accumulation group gradients need not be averaged over processes yet.
    inside = not closes and plan.fabric.world_size > 1
    with plan.fabric.no_backward_sync(cast(Any, model)) if inside else nullcontext():
        parts = plan.task.loss(model, batch)
        for watcher in watchers:
            watcher.on_loss(plan, parts["loss"], batch)
        plan.fabric.backward(parts["loss"] if batch.weight == 1 else parts["loss"] * batch.weight)
    if closes:
        if plan.clip_value is not None:
            plan.fabric.clip_gradients(plan.module, plan.optimizer, clip_val=plan.clip_value)
        if plan.clip_norm is not None:
            plan.fabric.clip_gradients(plan.module, plan.optimizer, max_norm=plan.clip_norm, error_if_nonfinite=False)
        plan.optimizer.step()
        if plan.constraints is not None:
            plan.constraints.apply(plan.optimizer)
        plan.optimizer.zero_grad()
        progress.step += 1
        if plan.average is not None:
            plan.average.update(plan.module)
    return parts


class Totals:
    """Sums of named means weighted by their number of samples, kept on the device until the epoch ends.

    Batches are added in groups, since on a small network each call costs about 1 % of a step. Within a group they are
    added one after the other in double precision, so that the sums do not depend on where a run was interrupted.
    """

    def __init__(self, sums: dict[str, float], samples: int) -> None:
        self.names = list(sums)
        self.sums = torch.tensor(list(sums.values()), dtype=torch.float64) if sums else None
        self.samples = samples
        self.waiting: list[Tensor] = []
        self.counts: list[int] = []

    def add(self, parts: dict[str, Tensor], batch: Batch) -> None:
        """Add the scalars of one batch; repeated batches that only fill up a step (weight 0) do not count."""
        counted = len(batch.index) if batch.weight > 0 else 0
        self.names = list(parts)
        self.waiting += [value.detach() for value in parts.values()]
        self.counts.append(counted)
        self.samples += counted
        if len(self.counts) == BATCHES_PER_SUM:
            self._fold()

    def _fold(self) -> None:
        if not self.counts:
            return
        values = torch.stack(self.waiting).view(len(self.counts), -1)
        exact = torch.float32 if values.device.type == "mps" else torch.float64
        values = values.to(exact) * torch.tensor(self.counts, dtype=exact, device=values.device)[:, None]
        if self.sums is not None:
            values = torch.cat([self.sums.to(values)[None], values])
        self.sums = values.cumsum(0)[-1]
        self.waiting, self.counts = [], []

    def state(self) -> tuple[dict[str, float], int]:
        """Sums by name, and the number of samples in them."""
        self._fold()
        return (dict(zip(self.names, self.sums.tolist())) if self.sums is not None else {}), self.samples

    def means(self, fabric: Fabric) -> dict[str, float]:
        """Means by name over the samples of all processes."""
        self._fold()
        assert self.sums is not None
        both = torch.cat([self.sums, self.sums.new_tensor([self.samples])])
        if fabric.world_size > 1:
            both = cast(Tensor, fabric.all_reduce(both, reduce_op="sum"))
        return dict(zip(self.names, (both[:-1] / both[-1]).tolist()))


def _seed(plan: Plan, progress: Progress) -> None:
    """Seed dropout from (seed, epoch, batch, process), so that resuming needs no saved generator state."""
    mixed = hash((plan.seed, progress.epoch, progress.batch, plan.fabric.global_rank)) & 0x7FFF_FFFF_FFFF_FFFF
    torch.default_generator.manual_seed(mixed)
    if plan.fabric.device.type == "cuda":
        torch.cuda.default_generators[plan.fabric.device.index or 0].manual_seed(mixed)
    elif plan.fabric.device.type == "mps":
        torch.mps.manual_seed(mixed)


def _lr(plan: Plan) -> float:
    """The learning rate of the last stage, the largest when they differ by stage."""
    return max(group["lr"] for group in plan.optimizer.param_groups)


def _set_lr(plan: Plan, progress: Progress) -> None:
    """Set the learning rate and dropout of this step from their schedules and the plateau factor."""
    factor = plan.schedule(progress.step) * (plan.plateau.factor if plan.plateau else 1.0)
    for group in plan.optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
    if plan.dropout is not None:
        total = plan.epochs * plan.train.batches_per_epoch / plan.train.accumulate
        plan.dropout.set(progress.step / max(total, 1))


def _update_best(plan: Plan, progress: Progress, metrics: dict[str, float]) -> bool:
    """Return whether this epoch is the best so far; update the plateau, and stop when patience runs out."""
    if plan.val is None or plan.task.spec.keeps_last:  # the last weights are used
        progress.best_epoch = progress.epoch + 1
        if plan.plateau is not None and plan.val is not None:
            plan.plateau.step(metrics["loss"])
        return True
    value = score(plan.task.spec, metrics)
    if plan.val.samples < SMALL_VALIDATION:
        progress.recent = [*progress.recent, value][-WINDOW:]
        value = smoothed(progress.recent)
    too_few = not compares(plan.val.samples, progress.epoch + 1)
    improved = progress.best is None or not math.isfinite(progress.best[0]) or too_few or value > progress.best
    if improved:
        progress.best, progress.best_epoch = value, progress.epoch + 1
    if plan.plateau is not None:
        plan.plateau.step(metrics["loss"])
    if plan.patience is not None and progress.epoch + 1 - progress.best_epoch >= plan.patience:
        text = "no better {metric} for {epochs} {epochs:epoch|epochs}"
        progress.stopped = message(
            "stop.patience", text, metric=metric_message(plan.task.spec.monitor), epochs=plan.patience
        )
    return improved


def _speed(samples: int, seconds: float) -> float | None:
    """Samples per second; None if nothing was trained on."""
    return samples / max(seconds, 1e-9) if samples else None


def _finite(loss: float, progress: Progress) -> float:
    if not math.isfinite(loss):
        raise Failure(
            message(
                "engine.refuse.training_loss_step_epoch",
                "the training loss is {loss} at step {step} of epoch {epoch}; lower --lr, clip the "
                "gradient (--optim.clip_norm 1) or use --precision fp32",
                loss=loss,
                step=progress.step,
                epoch=progress.epoch + 1,
            )
        )
    return loss

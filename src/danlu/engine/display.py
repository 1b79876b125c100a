"""Progress of a training: bars on a terminal, plain lines elsewhere, the same lines in log.txt."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bars,
)
from rich.text import Text
from torch import Tensor

from danlu.engine.loop import Plan, Progress, Watcher, samples_trained
from danlu.message import printable_line, translated
from danlu.progress.stages import duration
from danlu.run.best_epoch import compares
from danlu.run.names import metric_key, split_key

REFRESH_SECONDS = 0.2  # between updates of the bars; drawing costs training time
SPEED_WINDOW = 5.0  # seconds of training over which the displayed speed is averaged
FIRST_LINE_SECONDS = 2  # without a line before the first one inside an epoch, where there is no terminal
LINE_SECONDS = 30  # between such lines
MIN_SECONDS_LEFT = 10.0  # of the training, to be printed after an epoch


def epoch_line(plan: Plan, progress: Progress, row: dict[str, Any], improved: bool) -> str:
    """Format one epoch as a line: `epoch  3/10  train loss 0.081 accuracy 0.975  val loss 0.064 accuracy 0.981 *`."""
    words = [
        translated("progress.epoch", "epoch {epoch}", epoch=f"{progress.epoch:>{len(str(plan.epochs))}}/{plan.epochs}")
    ]
    for split in ("train", "val"):
        shown = [f"{metric_key(k)} {row[f'{split}.{k}']:.4f}" for k in plan.task.spec.shown if f"{split}.{k}" in row]
        if shown:
            words.append(f"{split_key(split)} {' '.join(shown)}")
    words.append(translated("progress.lr", "lr {lr}", lr=f"{row['lr']:.2g}"))
    words.append(f"{row['samples_per_second']:,.0f}/s")
    return "  ".join(words) + (translated("progress.best", "  best") if improved else "")


def epochs_trained(plan: Plan, progress: Progress) -> float:
    """Epochs since the start of the training, with the fraction of the current one."""
    return progress.epoch + progress.batch / max(plan.train.length(progress.epoch), 1)


class Display(Watcher):
    """Bars for epochs and batches with speed, time left and current losses. Use as a context manager."""

    def __init__(self, console: Console, log: Callable[[str], None]) -> None:
        self.console, self.log = console, log
        self.live = console.is_terminal
        self._last = 0.0
        self._next_line = time.monotonic() + FIRST_LINE_SECONDS  # time from which a line inside an epoch is due
        self._start: tuple[float, float] | None = None  # epochs and seconds of training at the first batch
        self._speed = RecentSpeed()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.bars = Bars(
            *columns, console=console, refresh_per_second=1 / REFRESH_SECONDS, transient=True, disable=not self.live
        )
        self._epochs = self._batches = None

    def __enter__(self) -> Display:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def on_start(self, plan: Plan, progress: Progress) -> None:
        """Set the times from which speed and time left are computed."""
        self._next_line = time.monotonic() + FIRST_LINE_SECONDS
        self._start = epochs_trained(plan, progress), progress.seconds

    def on_batch(self, plan: Plan, progress: Progress, parts: dict[str, Tensor]) -> None:
        """Update the bars, or print a line from time to time where the output is no terminal."""
        now = time.perf_counter()
        if not self.live:
            if time.monotonic() >= self._next_line:
                self._next_line = time.monotonic() + LINE_SECONDS
                self.say(self._batch_line(plan, progress, parts))
            return
        if now - self._last < REFRESH_SECONDS:
            return
        self._last = now
        if self._epochs is None or self._batches is None:
            epochs = translated("progress.epochs", "epochs") + " "
            self._epochs = self.bars.add_task(epochs, total=plan.epochs, completed=progress.epoch, note="")
            self._batches = self.bars.add_task(translated("progress.batches", "batches"), total=1, note="")
        speed = self._speed.add(samples_trained(plan, progress), progress.seconds)
        note = self._note(parts) if speed is None else f"{speed:,.0f}/s  {self._note(parts)}"
        self.bars.update(self._batches, completed=progress.batch, total=plan.train.length(progress.epoch), note=note)
        self.bars.update(self._epochs, completed=round(epochs_trained(plan, progress), 2))

    def on_epoch(self, plan: Plan, progress: Progress, row: dict[str, Any], improved: bool) -> None:
        """Print the line of the epoch."""
        self._next_line = time.monotonic() + LINE_SECONDS
        last_is_kept = plan.val is None or plan.task.spec.keeps_last
        compared = plan.val is not None and not last_is_kept and compares(plan.val.samples, progress.epoch)
        line = epoch_line(plan, progress, row, improved and compared)
        left = row["seconds"] / max(progress.epoch, 1) * (plan.epochs - progress.epoch)  # validation included
        if left >= MIN_SECONDS_LEFT:
            line += "  " + translated("progress.left", "{time} left", time=duration(left))
        self.say(line)

    def _batch_line(self, plan: Plan, progress: Progress, parts: dict[str, Tensor]) -> str:
        """Format the state inside an epoch: `epoch 1/24  batch 3/8  loss 0.61  5 min 10 s left`."""
        total = plan.train.length(progress.epoch)
        epoch = translated("progress.epoch", "epoch {epoch}", epoch=f"{progress.epoch + 1}/{plan.epochs}")
        batch = translated("progress.batch", "batch {batch}/{total}", batch=progress.batch, total=total)
        line = f"{epoch}  {batch}  {self._note(parts)}"
        trained = epochs_trained(plan, progress)
        if self._start is not None and trained > self._start[0]:
            left = (progress.seconds - self._start[1]) / (trained - self._start[0]) * (plan.epochs - trained)
            line += "  " + translated("progress.left", "{time} left", time=duration(left))
        return line

    def _note(self, parts: dict[str, Tensor]) -> str:
        return " ".join(f"{metric_key(k)} {v.item():.4f}" for k, v in parts.items())

    def say(self, line: str) -> None:
        """Print a line above the bars, and write it to the log."""
        self.bars.console.print(Text(printable_line(line)), soft_wrap=True)
        self.log(line)


class RecentSpeed:
    """Samples per second of training over the last seconds.

    window: seconds of training, without validation and pauses.
    """

    def __init__(self, window: float = SPEED_WINDOW) -> None:
        self.window = window
        self._points: deque[tuple[int, float]] = deque()

    def add(self, samples: int, seconds: float) -> float | None:
        """Add a point of the training and return the speed over the window up to it; None at the first point.

        samples, seconds: since the start of the training.
        """
        self._points.append((samples, seconds))
        while len(self._points) > 2 and seconds - self._points[1][1] >= self.window:
            self._points.popleft()
        first_samples, first_seconds = self._points[0]
        return (samples - first_samples) / (seconds - first_seconds) if seconds > first_seconds else None

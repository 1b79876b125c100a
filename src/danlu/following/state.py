"""State of a run from the files of its folder: stage, progress and time left."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from danlu.engine.saving import INTERRUPTED
from danlu.report.markup import is_number
from danlu.run.folder import Run
from danlu.task_spec import TASKS

Row = Mapping[str, Any]


@dataclass(frozen=True)
class State:
    """State of one run.

    word: "reading" before the first row, "running", "finished", or "stopped" where no process holds the run and it has
    no results: killed or interrupted. done: epochs trained, with the fraction of the current one. epochs: of the whole
    training, None while that is open. left: expected seconds to the last epoch. metric: by which the best epoch is
    chosen. best: its best value on the validation set.
    """

    word: Literal["reading", "running", "finished", "stopped"]
    done: float
    epochs: int | None
    left: float | None
    metric: str
    best: float | None
    reason: str = ""
    seconds: float | None = None  # of training so far; of a finished run also of reading and evaluation, as its report


def state_of(run: Run, rows: Sequence[Row], now: float | None = None) -> State:
    """State of a run with the rows of its record. now: time in seconds since 1970."""
    config, summary = run.config, run.summary
    epochs = [row for row in rows if row["kind"] == "epoch"]
    cut_short = str(summary.stopped or "").startswith(INTERRUPTED)
    at_rest = "finished" if summary and not cut_short else "stopped"
    word = ("running" if rows else "reading") if run.in_use else at_rest
    task = config.task or summary.task
    metric = summary.monitor or (TASKS[task].monitor if task in TASKS else "loss")
    high = metric != "loss" and (task not in TASKS or TASKS[task].better == "high")
    values = [value for row in epochs if is_number(value := row.get(f"val.{metric}"))]
    done = _done(rows, epochs)
    return State(
        word=word,
        done=done,
        epochs=config.epochs,
        left=_left(run, epochs, config.epochs, now) if word == "running" else None,
        metric=metric,
        best=(max if high else min)(values) if values else None,
        reason=str(summary.stopped or ""),
        seconds=summary.seconds if word == "finished" else epochs[-1].get("seconds") if epochs else None,
    )


def _done(rows: Sequence[Row], epochs: Sequence[Row]) -> float:
    """Epochs trained, by the steps of the last row once the steps of an epoch are known."""
    whole = float(len(epochs))
    if not epochs or not epochs[-1].get("epoch"):
        return whole
    steps_per_epoch = epochs[-1]["step"] / epochs[-1]["epoch"]
    behind = rows[-1]["step"] - epochs[-1]["step"]
    return whole + (min(behind / steps_per_epoch, 0.99) if steps_per_epoch > 0 else 0.0)


def _left(run: Run, epochs: Sequence[Row], total: int | None, now: float | None) -> float | None:
    """Expected seconds to the last epoch at the mean time of an epoch so far."""
    if not epochs or total is None or not is_number(epochs[-1].get("seconds")):
        return None
    per_epoch = epochs[-1]["seconds"] / epochs[-1]["epoch"]
    try:
        since = (time.time() if now is None else now) - run.weights("last").stat().st_mtime
    except OSError:
        since = 0.0
    return max(0.0, per_epoch * (total - len(epochs)) - max(0.0, min(since, per_epoch)))

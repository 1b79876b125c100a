"""Save a run after every epoch, every few minutes inside a long epoch, and when a signal stops it."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from torch import Tensor

from danlu.engine.checkpoint import save_state, save_weights
from danlu.engine.loop import Plan, Progress, Watcher
from danlu.message import Message, message, translated
from danlu.refuse import Refusal
from danlu.run.atomic import sync
from danlu.run.checksums import expect_beginning
from danlu.run.folder import Run
from danlu.run.signature import Signature

Sums = tuple[dict[str, float], int]  # `Totals.state` of one process


class PathKeeper(Watcher):
    """Keeps the weights of some epochs at even distances, for the path of the optimiser in the loss landscape.

    count: number of epochs to keep, of all that are planned. It comes before the `Saver`, so that an epoch that counts
    as done has its weights.
    """

    def __init__(self, run: Run, signature: Signature, count: int) -> None:
        self.run, self.signature, self.count = run, signature, count

    def on_epoch(self, plan: Plan, progress: Progress, row: dict[str, Any], improved: bool) -> None:
        """Save the weights, if this is one of the epochs to keep."""
        now, before = (epoch * self.count // plan.epochs for epoch in (progress.epoch, progress.epoch - 1))
        if now > before:
            path = self.run.snapshot(progress.epoch)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_weights(path, plan.average.model if plan.average else plan.module, self.signature)


class Saver(Watcher):
    """Writes weights/best, weights/last and state.pt.

    fingerprint: of the data; a resumed run must have the same. conditions: settings and software, kept in state.pt.
    minutes: between saves inside an epoch.
    """

    def __init__(
        self, run: Run, signature: Signature, fingerprint: str, conditions: Mapping[str, Any], minutes: float
    ) -> None:
        self.run, self.signature, self.fingerprint, self.conditions = run, signature, fingerprint, conditions
        self.every = minutes * 60
        self.doctor: Callable[[], dict[str, Any]] | None = None  # returns the state of the doctor
        self._saved = time.monotonic()
        self._began = time.perf_counter()

    @property
    def due(self) -> bool:
        """The time between saves has passed."""
        return time.monotonic() - self._saved > self.every

    def on_batch(self, plan: Plan, progress: Progress, parts: dict[str, Tensor]) -> None:
        """Save a checkpoint, if one is due."""
        # Several processes agree first (`processes.Agreement`). Accumulated gradients are not saved, so not inside a
        # group.
        alone = plan.fabric.world_size == 1
        if alone and self.due and plan.train.closes_step(progress.epoch, progress.batch - 1):
            self.save(plan, progress)

    def on_epoch(self, plan: Plan, progress: Progress, row: dict[str, Any], improved: bool) -> None:
        """Save the weights and a checkpoint."""
        used = plan.average.model if plan.average else plan.module
        if improved:
            save_weights(self.run.weights("best"), used, self.signature)
        save_weights(self.run.weights("last"), used, self.signature)
        self.save(plan, progress)

    def save(self, plan: Plan, progress: Progress, others: Sequence[Sums] = ()) -> None:
        """Save the training state. others: inside an epoch, the sums of the processes after the first."""
        metrics = self.run.folder / "metrics.jsonl"
        if metrics.exists():  # a state must never be newer on the disk than the rows that it counts
            sync(metrics)
            if progress.rows_checksum is not None:
                expect_beginning(metrics, progress.rows_checksum, metrics.stat().st_size)
        save_state(self.run.state, self._state(plan, progress) | {"others": list(others)})
        self._saved = time.monotonic()

    def _state(self, plan: Plan, progress: Progress) -> dict[str, Any]:
        if progress.running is not None:
            progress.totals, progress.samples = progress.running.state()
        return {
            "progress": _plain(progress) | {"earlier": progress.earlier + time.perf_counter() - self._began},
            "fingerprint": self.fingerprint,
            "conditions": dict(self.conditions),
            "model": plan.module.state_dict(),
            "optimizer": plan.optimizer.state_dict(),
            "precision": plan.fabric.strategy.precision.state_dict(),
            "plateau": plan.plateau.state_dict() if plan.plateau else None,
            "average": plan.average.state_dict() if plan.average else None,
            "doctor": self.doctor() if self.doctor else None,
        }

    def restore(self, plan: Plan, state: dict[str, Any]) -> Progress:
        """Load a saved state into `plan`. Raises Refusal if the network or the data differs."""
        if state["fingerprint"] != self.fingerprint:
            raise Refusal(
                message(
                    "engine.refuse.resume_data_changed_since",
                    "--resume {name}: the data has changed since, or config.yaml was edited (other samples, "
                    "labels or network); train it again",
                    name=self.run.name,
                )
            )
        try:
            plan.module.load_state_dict(state["model"])
            plan.optimizer.load_state_dict(state["optimizer"])
            plan.fabric.strategy.precision.load_state_dict(state["precision"])
            if plan.plateau:
                plan.plateau.load_state_dict(state["plateau"])
            if plan.average:
                plan.average.load_state_dict(state["average"])
            progress = _progress(state["progress"], plan)
            if rank := plan.fabric.global_rank:
                progress.totals, progress.samples = state["others"][rank - 1] if state["others"] else ({}, 0)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = " ".join(str(error).split())[:200]
            raise Refusal(
                message(
                    "engine.refuse.resume_state_pt_does",
                    "--resume {name}: state.pt does not fit config.yaml: {why}",
                    name=self.run.name,
                    why=why,
                )
            ) from None
        if progress.stopped and progress.stopped.startswith(INTERRUPTED):
            progress.stopped = None
        return progress


def _plain(progress: Progress) -> dict[str, Any]:
    """Progress as plain values: state.pt is read without unpickling other types."""
    values = {name: value for name, value in vars(progress).items() if name != "running"}
    if isinstance(progress.stopped, Message):
        values["stopped"] = progress.stopped.to_dict()
    return values


def _progress(values: dict[str, Any], plan: Plan) -> Progress:
    """Inverse of `_plain`. Raises ValueError for values that no training leaves."""
    before: dict[str, Any] = {"rows_checksum": None}  # saved before rows had a checksum
    progress = Progress(**(before | values))
    kept: Any = progress.stopped
    if isinstance(kept, dict):
        progress.stopped = Message.from_dict(kept)
    counts = ("epoch", "batch", "step", "best_epoch", "rows", "samples")
    for name in counts:
        if type(value := getattr(progress, name)) is not int or value < 0:
            raise ValueError(f"{name} {value!r} is no count")
    if progress.epoch > plan.epochs:
        raise ValueError(f"epoch {progress.epoch} lies beyond the {plan.epochs} epochs of the run")
    if progress.batch and progress.batch > plan.train.length(progress.epoch):
        raise ValueError(f"batch {progress.batch} lies beyond the {plan.train.length(progress.epoch)} of an epoch")
    if not isinstance(progress.stopped, str | None) or not isinstance(progress.totals, dict):
        raise ValueError("what it holds about the current epoch is no progress of a training")
    for seconds in (progress.seconds, progress.earlier):
        if not (isinstance(seconds, float | int) and 0 <= seconds < math.inf):
            raise ValueError(f"{seconds!r} is no time in seconds")
    scores = [*([progress.best] if progress.best is not None else []), *progress.recent]
    numbers = [*progress.totals.values(), *(number for score in scores for number in score)]
    if not all(isinstance(number, float | int) for number in numbers) or any(len(score) != 2 for score in scores):
        raise ValueError("its sums and best metric must be numbers")
    return progress


INTERRUPTED = "interrupted"


class Interrupted(KeyboardInterrupt):
    """The training was stopped by a signal after saving its state.

    reason: "interrupted by SIGTERM". code: exit status. command: continues the training.
    """

    def __init__(self, reason: str, code: int, command: str = "") -> None:
        text = "{reason}; go on with `{command}`"
        super().__init__(message("stop.go_on", text, reason=reason, command=command) if command else reason)
        self.reason, self.code = reason, code


class StopSignal:
    """Turns SIGINT and SIGTERM into a request to stop after the current step; a second signal ends at once.

    forward: called at every signal, with True for a second one; see `processes.launch`.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.number = 0
        self.forward: Callable[[bool], None] | None = None
        self._old: dict[int, Any] = {}

    def __call__(self) -> str | None:
        """Return the reason to stop, or None."""
        return self.reason

    def handle(self, number: int, frame: object) -> None:
        """Signal handler."""
        again = self.reason is not None
        self.number = number
        self.reason = message("stop.signal", "interrupted by {signal}", signal=signal.Signals(number).name)
        if self.forward is not None:
            self.forward(again)
        if not again and self._old:
            self._announce()
        if again:
            # Nothing holds up a second SIGTERM, not even the clean-up of a command.
            old = signal.SIG_DFL if number == signal.SIGTERM else self._old.get(number, signal.SIG_DFL)
            if old == signal.SIG_IGN:  # shells ignore SIGINT in background jobs
                old = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, old)
            os.kill(os.getpid(), number)

    @staticmethod
    def _announce() -> None:
        """Print that the first signal has arrived, past Python's buffers, which it may have interrupted in a write."""
        text = translated("stop.first", "stopping after this step; a second signal ends at once, without saving")
        with suppress(OSError):
            os.write(2, f"danlu: {text}\n".encode())

    @contextmanager
    def installed(self) -> Iterator[StopSignal]:
        """Install the signal handlers for the duration of the context."""
        if threading.current_thread() is not threading.main_thread():  # Python allows handlers in the main thread only
            yield self
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            self._old[number] = signal.signal(number, self.handle)
        try:
            yield self
        finally:
            for number, handler in self._old.items():
                signal.signal(number, handler)

"""When a run is saved: after every epoch, every few minutes inside a long one, and when it is told to stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from danlu.engine.checkpoint import save_state, save_weights
from danlu.engine.loop import Plan, Progress, Watcher
from danlu.message import message
from danlu.refuse import Refusal
from danlu.run.folder import Run
from danlu.run.signature import Signature

Sums = tuple[dict[str, float], int]  # one process's, over samples of the epoch so far, and how many those are


class Saver(Watcher):
    """Writes weights/best, weights/last and state.pt. minutes: between states inside an epoch.

    fingerprint: what the data looked like; a resumed run must find the same.
    """

    def __init__(self, run: Run, signature: Signature, fingerprint: str, minutes: float) -> None:
        self.run, self.signature, self.fingerprint = run, signature, fingerprint
        self.every = minutes * 60
        self._saved = time.monotonic()

    @property
    def due(self) -> bool:
        return time.monotonic() - self._saved > self.every

    def on_batch(self, plan: Plan, progress: Progress, parts: dict[str, Tensor]) -> None:
        # Several processes must agree first: `processes.Agreement`.
        # Inside an accumulated group there are gradients, which are not saved.
        alone = plan.fabric.world_size == 1
        if alone and self.due and plan.train.closes_step(progress.epoch, progress.batch - 1):
            self.save(plan, progress)

    def on_epoch(self, plan: Plan, progress: Progress, row: dict[str, Any], improved: bool) -> None:
        used = plan.average.model if plan.average else plan.module
        if improved:
            save_weights(self.run.weights("best"), used, self.signature)
        save_weights(self.run.weights("last"), used, self.signature)
        self.save(plan, progress)

    def save(self, plan: Plan, progress: Progress, others: Sequence[Sums] = ()) -> None:
        """others: inside an epoch, what the processes after the first have summed up so far."""
        save_state(self.run.state, self._state(plan, progress) | {"others": list(others)})
        self._saved = time.monotonic()

    def _state(self, plan: Plan, progress: Progress) -> dict[str, Any]:
        if progress.running is not None:
            progress.totals, progress.samples = progress.running.state()
        return {
            "progress": {k: v for k, v in vars(progress).items() if k != "running"},
            "fingerprint": self.fingerprint,
            "model": plan.module.state_dict(),
            "optimizer": plan.optimizer.state_dict(),
            "precision": plan.fabric.strategy.precision.state_dict(),
            "plateau": plan.plateau.state_dict() if plan.plateau else None,
            "average": plan.average.state_dict() if plan.average else None,
        }

    def restore(self, plan: Plan, state: dict[str, Any]) -> Progress:
        """Put a saved state back; Refusal when it is of another network or the data has changed."""
        if state["fingerprint"] != self.fingerprint:
            raise Refusal(
                f"--resume {self.run.name}: the data has changed since, or config.yaml was edited "
                "(other samples, labels or network); train it anew"
            )
        try:
            plan.module.load_state_dict(state["model"])
            plan.optimizer.load_state_dict(state["optimizer"])
            plan.fabric.strategy.precision.load_state_dict(state["precision"])
            if plan.plateau:
                plan.plateau.load_state_dict(state["plateau"])
            if plan.average:
                plan.average.load_state_dict(state["average"])
            progress = Progress(**state["progress"])
            if rank := plan.fabric.global_rank:
                progress.totals, progress.samples = state["others"][rank - 1] if state["others"] else ({}, 0)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = " ".join(str(error).split())[:200]
            raise Refusal(f"--resume {self.run.name}: state.pt does not fit config.yaml: {why}") from None
        if progress.stopped and progress.stopped.startswith(INTERRUPTED):
            progress.stopped = None
        return progress


INTERRUPTED = "interrupted"


class Interrupted(KeyboardInterrupt):
    """The training was stopped by a signal, and all that is needed to go on was saved. code: exit status."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class StopSignal:
    """Turns SIGINT and SIGTERM into a wish to stop after the current step; a second one ends at once.

    forward: told of every signal, with whether it is a second one; see `processes.launch`.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.number = 0
        self.forward: Callable[[bool], None] | None = None
        self._old: dict[int, Any] = {}

    def __call__(self) -> str | None:
        return self.reason

    def heard(self, number: int, frame: object) -> None:
        again = self.reason is not None
        self.number = number
        self.reason = message("stop.signal", "interrupted by {signal}", signal=signal.Signals(number).name)
        if self.forward is not None:
            self.forward(again)
        if again:
            old = self._old.get(number, signal.SIG_DFL)
            if old == signal.SIG_IGN:  # as a shell leaves SIGINT to what it starts in the background
                old = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, old)
            os.kill(os.getpid(), number)

    @contextmanager
    def listening(self) -> Iterator[StopSignal]:
        if threading.current_thread() is not threading.main_thread():  # Python allows handlers nowhere else
            yield self
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            self._old[number] = signal.signal(number, self.heard)
        try:
            yield self
        finally:
            for number, handler in self._old.items():
                signal.signal(number, handler)

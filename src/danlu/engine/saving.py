"""When a run is saved: after every epoch, every few minutes inside a long one, and when it is told to stop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from torch import Tensor

from danlu.engine.checkpoint import save_state, save_weights
from danlu.engine.loop import Plan, Progress, Watcher
from danlu.refuse import Refusal
from danlu.run import Run
from danlu.signature import Signature


class Saver(Watcher):
    """Writes weights/best, weights/last and state.pt. minutes: between states inside an epoch.

    fingerprint: what the data looked like; a resumed run must find the same.
    """

    def __init__(self, run: Run, signature: Signature, fingerprint: str, minutes: float) -> None:
        self.run, self.signature, self.fingerprint = run, signature, fingerprint
        self.every = minutes * 60
        self._saved = time.monotonic()

    def on_batch(self, plan: Plan, progress: Progress, parts: dict[str, Tensor]) -> None:
        # Inside an epoch each process has sums of its own; only the end of an epoch is the same for all of them.
        if time.monotonic() - self._saved > self.every and plan.fabric.world_size == 1:
            self.save(plan, progress)

    def on_epoch(self, plan: Plan, progress: Progress, row: dict[str, Any], improved: bool) -> None:
        used = plan.average.model if plan.average else plan.module
        if improved:
            save_weights(self.run.weights("best"), used, self.signature)
        save_weights(self.run.weights("last"), used, self.signature)
        self.save(plan, progress)

    def save(self, plan: Plan, progress: Progress) -> None:
        save_state(self.run.state, self._state(plan, progress))
        self._saved = time.monotonic()

    def _state(self, plan: Plan, progress: Progress) -> dict[str, Any]:
        return {
            "progress": asdict(progress),
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
                f"--resume {self.run.name}: the data has changed since (other samples or labels); train it anew"
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
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            first = str(error).splitlines()[0][:160]
            raise Refusal(f"--resume {self.run.name}: state.pt does not fit config.yaml: {first}") from None
        if progress.stopped and progress.stopped.startswith(INTERRUPTED):
            progress.stopped = None
        return progress


INTERRUPTED = "interrupted"


class StopSignal:
    """Turns SIGINT and SIGTERM into a wish to stop after the current batch; a second one ends at once."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.number = 0

    def __call__(self) -> str | None:
        return self.reason

    @contextmanager
    def listening(self) -> Iterator[StopSignal]:
        if threading.current_thread() is not threading.main_thread():  # Python allows handlers nowhere else
            yield self
            return
        old = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

        def heard(number: int, frame: object) -> None:
            self.reason, self.number = f"{INTERRUPTED} by {signal.Signals(number).name}", number
            signal.signal(number, old[signal.Signals(number)])

        for s in old:
            signal.signal(s, heard)
        try:
            yield self
        finally:
            for s, handler in old.items():
                signal.signal(s, handler)

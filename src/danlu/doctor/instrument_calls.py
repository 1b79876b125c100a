"""Calls of the instruments at the events of a training: time accounts, and instruments that fail."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import torch

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.observation.watched_model import WatchedModel

EVENTS = (
    "before_forward",
    "forward_failed",
    "after_forward",
    "after_loss",
    "backward_called",
    "before_backward",
    "before_step",
    "after_step",
    "settled",
    "validated",
    "end_training",
    "end_epoch",
)


class InstrumentCalls:
    """Call the instruments that override an event, and charge the time of each call to the budget.

    An instrument that raises an exception is disabled, so that an error of the doctor never ends a training.
    """

    def __init__(self, watched: WatchedModel, instruments: Sequence[Instrument]) -> None:
        self.watched = watched
        self.instruments = list(instruments)
        self._in_instruments = 0.0  # seconds since the timer was started
        self._callbacks = {
            event: [
                (i, getattr(i, event), i.name, f"{i.name}/val")
                for i in self.instruments
                if getattr(type(i), event) is not getattr(Instrument, event)
            ]
            for event in EVENTS
        }

    def start_timer(self) -> float:
        """Start the time of a hook; returns the moment for `stop_timer`, in seconds."""
        self._in_instruments = 0.0
        return perf_counter()

    def stop_timer(self, started: float) -> None:
        """Charge the time since `started` to the hooks, without that of the instruments called in it."""
        own = perf_counter() - started - self._in_instruments
        self.watched.budget.charge("hooks", own, self.watched.step)

    def notify(self, event: str, training: bool, *arguments: Any) -> None:
        """Call the instruments at an event. training: the time is that of a training pass, not of validation."""
        watched = self.watched
        with torch.no_grad():
            for instrument, callback, account, val_account in tuple(self._callbacks[event]):
                started = perf_counter()
                try:
                    measured = callback(watched, *arguments)
                except Exception as error:
                    self._disable(instrument, error)
                    measured = None
                seconds = perf_counter() - started
                self._in_instruments += seconds
                used = account if training else val_account
                watched.budget.charge(used, seconds, watched.step, measured=bool(measured))

    def finish(self) -> None:
        """Let the instruments write their last values."""
        for instrument in self.instruments:
            self._finish(instrument)

    def release(self) -> None:
        """Drop the instruments, and with them the tensors they hold."""
        self.instruments = []
        for callbacks in self._callbacks.values():
            callbacks.clear()

    def _disable(self, instrument: Instrument, error: Exception) -> None:
        for callbacks in self._callbacks.values():
            callbacks[:] = [callback for callback in callbacks if callback[0] is not instrument]
        self._mark_failed(instrument, error)
        self._finish(instrument)

    def _finish(self, instrument: Instrument) -> None:
        try:
            instrument.finish(self.watched)
        except Exception as error:
            self._mark_failed(instrument, error)

    def _mark_failed(self, instrument: Instrument, error: Exception) -> None:
        text = f"the instrument failed and was disabled: {type(error).__name__}: {error}"
        self.watched.mark_unobservable(instrument.name, text)

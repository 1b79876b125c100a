"""Callbacks of the user: objects with any of the moments of `Callback`, or functions called after every epoch."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from danlu.data.batches import Batch
from danlu.engine.loop import Plan, Progress, Watcher
from danlu.message import message
from danlu.own.naming import own_name, parameters_of, required
from danlu.refuse import Failure, Refusal, nearest, refusal, shortened
from danlu.tasks.task import Evaluation
from danlu.user_objects import PREFIX


@dataclass(repr=False)
class TrainingState:
    """State of a training at the moment a callback is called.

    model: the network that is trained. optimizer: its optimiser. epoch: epochs finished. step: optimiser steps. batch:
    batches of the epoch finished. epochs: of the whole training. loss: of the last batch, on the device. metrics: after
    an epoch, "train.loss", "val.accuracy", "lr", ...; {} before the first. outputs, targets: of the validation set, in
    `on_validation_end`. best: whether the last epoch is the best so far.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    epochs: int
    epoch: int = 0
    step: int = 0
    batch: int = 0
    loss: Tensor | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    outputs: Any = None
    targets: Any = None
    best: bool = False
    stop_reason: str | None = None

    def stop(self, reason: str = "stopped by a callback") -> None:
        """End the training after the current epoch; its best weights are kept and evaluated."""
        self.stop_reason = reason

    def __repr__(self) -> str:
        metrics = "".join(f", {name}={value:.4g}" for name, value in self.metrics.items())
        place = f"epoch {self.epoch} of {self.epochs}, step {self.step}"
        return f"TrainingState({type(self.model).__name__}, {place}{metrics}{', best' if self.best else ''})"


class Callback:
    """Base class of callbacks. Every method is optional; all get the `TrainingState`.

    Callbacks observe: their own attributes are not saved with the run, so a resumed training starts them anew. With
    several devices they are called in the first process.
    """

    def on_train_start(self, state: TrainingState) -> None:
        """Called before the first batch, also of a resumed training."""

    def on_batch_end(self, state: TrainingState) -> None:
        """Called after every batch."""

    def on_validation_end(self, state: TrainingState) -> None:
        """Called after the validation of every epoch, with `outputs` and `targets`."""

    def on_epoch_end(self, state: TrainingState) -> None:
        """Called after every epoch, with its `metrics`."""

    def on_train_end(self, state: TrainingState) -> None:
        """Called after the last epoch, before the best weights are evaluated."""


MOMENTS = ("on_train_start", "on_batch_end", "on_validation_end", "on_epoch_end", "on_train_end")
MAX_MISSPELT = 2  # unknown moments of a callback; with more it is one of another library


class OwnCallbacks:
    """The callbacks of the user, in their order."""

    def __init__(self, callbacks: Any) -> None:
        self.callbacks = [_checked(one) for one in (callbacks if isinstance(callbacks, list | tuple) else [callbacks])]
        self.names = tuple(own_name(one) for one in self.callbacks)
        self.name = ",".join(self.names)

    def watcher(self) -> CallbackWatcher:
        """A watcher of the training loop that calls them."""
        return CallbackWatcher(self.callbacks)


def _checked(callback: Any) -> Any:
    """Refuse what has none of the moments, and methods that are near-misses of one."""
    if isinstance(callback, type):
        callback = callback()
    methods = [name for name in dir(callback) if name.startswith("on_") and callable(getattr(callback, name))]
    if unknown := [name for name in methods if name not in MOMENTS]:
        foreign = len(unknown) > MAX_MISSPELT
        near = [] if foreign else difflib.get_close_matches(unknown[0], MOMENTS, 1, 0.5)
        hint = (
            message("own.hint.did_you_mean", "; did you mean {near!r}?", near=near[0])
            if near
            else message("own.hint.known", "; known are {moments}", moments=", ".join(MOMENTS))
        )
        if not set(methods) & set(MOMENTS) or near or foreign:
            name = own_name(callback).removeprefix(PREFIX)
            raise Refusal(
                message(
                    "own.refuse.callback_unknown_moment",
                    "callback {name} has the unknown moment {unknown!r}{hint}",
                    name=name,
                    unknown=unknown[0],
                    hint=hint,
                ),
                "callbacks",
            )
    if methods:
        return callback
    if not callable(callback) or not _takes_state(callback):
        wanted = message(
            "own.wanted.object_method_function_state",
            "an object with a method {listed} or {moments}, or a function f(state)",
            listed=", ".join(MOMENTS[:-1]),
            moments=MOMENTS[-1],
        )
        raise refusal("callbacks", wanted, own_name(callback).removeprefix(PREFIX))
    return callback


def _takes_state(function: Any) -> bool:
    """Return whether a function can be called with one argument; True where it cannot be inspected."""
    parameters = parameters_of(function)
    if len(required(parameters)) > 1:
        return False
    return bool(parameters) or not inspect.isfunction(function)


class CallbackWatcher(Watcher):
    """Calls the user's callbacks from the training loop."""

    def __init__(self, callbacks: list[Any]) -> None:
        self.callbacks = callbacks
        self.state: TrainingState | None = None

    def on_start(self, plan: Plan, progress: Progress) -> None:
        """Call `on_train_start` of the callbacks."""
        optimizer = getattr(plan.optimizer, "optimizer", plan.optimizer)
        self.state = TrainingState(plan.module, optimizer, plan.epochs)
        self._call("on_train_start", progress)

    def on_loss(self, plan: Plan, loss: Tensor, batch: Batch) -> None:
        """Keep the loss for the callbacks."""
        if self.state is not None:
            self.state.loss = loss.detach()

    def on_batch(self, plan: Plan, progress: Progress, parts: dict[str, Tensor]) -> None:
        """Call `on_batch_end` of the callbacks."""
        self._call("on_batch_end", progress)

    def on_validation(self, plan: Plan, evaluation: Evaluation) -> None:
        """Call `on_validation_end` of the callbacks, with outputs and targets."""
        if self.state is not None:
            self.state.outputs, self.state.targets = evaluation.outputs, evaluation.targets
            self._call("on_validation_end", None)
            self.state.outputs = self.state.targets = None

    def on_epoch(self, plan: Plan, progress: Progress, row: dict[str, Any], improved: bool) -> None:
        """Call `on_epoch_end` of the callbacks; stop the training where one asks for it."""
        if self.state is None:
            return
        self.state.metrics, self.state.best = dict(row), improved
        self._call("on_epoch_end", progress)
        if self.state.stop_reason is None or progress.stopped is not None or progress.epoch >= plan.epochs:
            return
        if plan.fabric.world_size > 1:
            raise Refusal(
                message(
                    "own.refuse.callbacks_cannot_stop_training",
                    "callbacks cannot stop a training of several processes; use one device",
                ),
                "callbacks",
            )
        progress.stopped = self.state.stop_reason

    def on_end(self, plan: Plan, progress: Progress) -> None:
        """Call `on_train_end` of the callbacks."""
        self._call("on_train_end", progress)

    def _call(self, moment: str, progress: Progress | None) -> None:
        """Call a moment of every callback. Random numbers drawn by a callback do not change the training."""
        if self.state is None:
            return
        if progress is not None:
            self.state.epoch, self.state.step, self.state.batch = progress.epoch, progress.step, progress.batch
        for callback in self.callbacks:
            function = getattr(callback, moment, None)
            if function is None and moment == "on_epoch_end" and callable(callback):
                function = callback
            if function is not None:
                _call_one(function, self.state, own_name(callback).removeprefix(PREFIX), moment)


def _call_one(function: Any, state: TrainingState, name: str, moment: str) -> None:
    """Call a callback. Failure with its name and the moment where it fails."""
    try:
        function(state)
    except (Refusal, Failure):
        raise
    except Exception as error:
        key = error.args[0] if isinstance(error, KeyError) and error.args else ""
        near = nearest(key, state.metrics) if key else []
        hint = message("own.hint.did_you_mean", "; did you mean {near!r}?", near=near[0]) if near else ""
        text = "callback {name} fails in {moment} at epoch {epoch}: {why}{hint}"
        values = {"name": name, "moment": moment, "epoch": state.epoch, "why": shortened(error), "hint": hint}
        raise Failure(message("own.failure.callback", text, **values)) from error

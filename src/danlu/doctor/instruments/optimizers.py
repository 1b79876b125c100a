"""Optimizers: their parameters, learning rates by step, and whether they are recreated or lose their state."""

from __future__ import annotations

import weakref
from typing import Any

import torch

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.instruments.plateau_schedulers import Waiting, state_of, waiting_schedulers
from danlu.doctor.observation.variables import holder_in_frames
from danlu.doctor.observation.watched_model import WatchedModel

SEARCHED_AT = 3  # epoch at whose end schedulers that wait for a metric are searched, once


class Optimizers(Instrument):
    """Write optimizer.* and parameter.held."""

    name = "optimizers"
    kept = ("_settings", "_had_state", "_scheduled_lr", "_written_held", "_steps", "_turns", "_latest")

    def start(self, watched: WatchedModel) -> None:
        self._held: dict[str, set[int]] = {}
        self._replaced: dict[str, bool] = {}  # optimizers half of whose parameters a later one holds as well
        self._settings: dict[tuple[str, str], float] = {}
        self._had_state: set[str] = set()
        self._written_held = 0  # parameters of all optimizers, when parameter.held was written
        self._steps = self._turns = 0
        self._latest = ""  # optimizer of the last step
        # Parameters of other models that have had no gradient yet, and their sizes.
        self._idle: dict[int, tuple[weakref.ref, int]] = {}
        self._idle_in = ""  # variable that holds the first of them
        self._waiting: list[Waiting] = []
        self._scheduled_lr: dict[str, float] = {}  # initial lr of groups that already have a scheduler
        for optimizer in watched.optimizers:
            for index, group in enumerate(optimizer.param_groups):
                if "initial_lr" in group and not optimizer.state:
                    self._scheduled_lr[f"{watched.label(optimizer)}.group{index}"] = float(group["lr"])
                watched.write("optimizer.lr", float(group["lr"]), f"{watched.label(optimizer)}.group{index}", 0)

    def before_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> None:
        label = watched.label(optimizer)
        if label not in self._held:
            self._register(watched, optimizer, label)
        # add_param_group() may have added some.
        elif len(self._held[label]) < sum(len(group["params"]) for group in optimizer.param_groups):
            self._held[label] |= _held_by(optimizer)
        elif self._replaced.get(label) and watched.ledger.last("optimizer.alternates") is None:
            watched.write("optimizer.alternates", 1, "")
        for key, (ref, _) in list(self._idle.items()):
            p = ref()
            if p is None or p.grad is not None or not p.requires_grad:
                del self._idle[key]
        for index, group in enumerate(optimizer.param_groups):
            where = f"{label}.group{index}"
            self._note(watched, "optimizer.lr", where, group.get("lr"))
            start = self._scheduled_lr.pop(where, None)
            if start is not None and start != float(group["lr"]) and not optimizer.state:
                watched.write("optimizer.early_schedule", start, where)
            self._note(watched, "optimizer.momentum", where, group.get("momentum", (group.get("betas") or (None,))[0]))
            self._note(watched, "optimizer.epsilon", where, group.get("eps"))
            self._note(watched, "optimizer.weight_decay", where, group.get("weight_decay"))
        if label in self._had_state and not optimizer.state:
            watched.write("optimizer.state_lost", 1, label)
            self._had_state.discard(label)

    def after_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> None:
        if optimizer.state:
            self._had_state.add(watched.label(optimizer))
        self._steps += 1
        label = watched.label(optimizer)
        self._turns += self._latest not in ("", label)
        self._latest = label
        if self._steps >= 3 and self._written_held != self._count_held():
            self._write_held(watched)

    def end_epoch(self, watched: WatchedModel) -> None:
        if watched.epoch == SEARCHED_AT:
            self._waiting = waiting_schedulers(watched.optimizers)
        for number, reference in enumerate(self._waiting):
            scheduler = reference()
            state = state_of(scheduler) if scheduler is not None else None
            if state is not None:
                watched.write("optimizer.waits_for", state, f"scheduler{number}", watched.epoch)

    def finish(self, watched: WatchedModel) -> None:
        if self._idle and self._steps:
            sizes = [size for _, size in self._idle.values()]
            watched.write("optimizer.idle", [len(sizes), sum(sizes)], self._idle_in)
        if self._turns:
            watched.write("optimizer.turns", self._turns)
        for optimizer in watched.optimizers:  # passed by the user, but never stepped
            if watched.label(optimizer) not in self._held:
                self._register(watched, optimizer, watched.label(optimizer), stepped=False)
        if self._held and self._written_held != self._count_held():
            self._write_held(watched)
        if self._steps:
            self._note_late_layers(watched)

    def state(self, watched: WatchedModel) -> dict[str, Any]:
        return super().state(watched) | {"registered": sorted(self._held)}

    def restore(self, watched: WatchedModel, state: dict[str, Any]) -> None:
        super().restore(watched, state)
        for optimizer in watched.optimizers:
            if (label := watched.label(optimizer)) in state["registered"]:
                self._held[label] = _held_by(optimizer)

    def _register(
        self, watched: WatchedModel, optimizer: torch.optim.Optimizer, label: str, *, stepped: bool = True
    ) -> None:
        """stepped: False for one that never stepped, such as a wrapper that makes the optimiser inside it step."""
        held, names = _held_by(optimizer), _names_now(watched)
        common = {other: len(held & theirs & names.keys()) for other, theirs in self._held.items()}
        shared = max(common.values(), default=0)
        self._replaced |= {other: True for other, count in common.items() if count and count >= len(held) / 2}
        if stepped and shared and shared >= len(held) / 2 and watched.steps_done:
            watched.write("optimizer.replaced", shared)
        self._held[label] = held
        others = [p for g in optimizer.param_groups for p in g["params"] if id(p) not in names]
        self._idle |= {id(p): (weakref.ref(p), p.numel()) for p in others}
        self._idle_in = self._idle_in or (holder_in_frames(others[0]) if others else "")
        watched.write("optimizer.kind", type(optimizer).__name__, label)
        watched.write("optimizer.foreign", len(others), label)
        watched.write("optimizer.scheduled", int(any("initial_lr" in g for g in optimizer.param_groups)), label)
        decoupled = type(optimizer).__name__ == "AdamW" or bool(optimizer.defaults.get("decoupled_weight_decay"))
        watched.write("optimizer.decoupled", int(decoupled), label)
        for group in optimizer.param_groups:
            for p in group["params"]:
                if id(p) in names:
                    decay = float(group.get("weight_decay") or 0.0)
                    watched.write("parameter.weight_decay", decay, names[id(p)])

    def _count_held(self) -> int:
        """Number of parameters in all optimizers."""
        return sum(map(len, self._held.values()))

    def _write_held(self, watched: WatchedModel) -> None:
        self._written_held = self._count_held()
        for key, name in _names_now(watched).items():
            watched.write("parameter.held", sum(key in held for held in self._held.values()), name)

    def _note_late_layers(self, watched: WatchedModel) -> None:
        """Record parameters of layers put in after the first steps that got a gradient but are in no optimizer."""
        held = set().union(*self._held.values())
        for name, p in watched.inner.named_parameters(prefix=watched.prefix):
            if id(p) in watched.parameter_names or id(p) in held or p.grad is None or not bool((p.grad != 0).any()):
                continue
            watched.write("parameter.held", 0, name)
            watched.write("parameter.reached", 1, name)
            watched.write("parameter.trainable", 1, name)
            watched.write("parameter.size", p.numel(), name)

    def _note(self, watched: WatchedModel, name: str, where: str, value: float | None) -> None:
        if value is None:
            return
        value = float(value)
        if self._settings.get((name, where)) != value:
            self._settings[name, where] = value
            watched.write(name, value, where)


def _names_now(watched: WatchedModel) -> dict[int, str]:
    """Names of the parameters by identity: a layer may have been replaced since the watching began."""
    return {id(p): name for name, p in watched.inner.named_parameters(prefix=watched.prefix)}


def _held_by(optimizer: torch.optim.Optimizer) -> set[int]:
    """Identities of the parameters of an optimizer."""
    return {id(p) for group in optimizer.param_groups for p in group["params"]}

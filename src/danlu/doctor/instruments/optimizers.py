"""The optimisers: what they hold, their rates step by step, and whether they are made anew or lose their state."""

from __future__ import annotations

import torch

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.watched_model import Patient


class Optimizers(Instrument):
    """Writes optimizer.* and parameter.held."""

    name = "optimizers"

    def start(self, patient: Patient) -> None:
        self._held: dict[str, set[int]] = {}
        self._settings: dict[tuple[str, str], float] = {}
        self._had_state: set[str] = set()
        self._told_held = 0
        self._steps = 0
        self._rates: dict[str, float] = {}  # at the start, of groups that a torch scheduler already steers
        for optimizer in patient.optimizers:
            for index, group in enumerate(optimizer.param_groups):
                if "initial_lr" in group and not optimizer.state:
                    self._rates[f"{patient.label(optimizer)}.group{index}"] = float(group["lr"])
                patient.write("optimizer.lr", float(group["lr"]), f"{patient.label(optimizer)}.group{index}", 0)

    def before_step(self, patient: Patient, optimizer: torch.optim.Optimizer) -> None:
        label = patient.label(optimizer)
        if label not in self._held:
            self._greet(patient, optimizer, label)
        for index, group in enumerate(optimizer.param_groups):
            where = f"{label}.group{index}"
            self._note(patient, "optimizer.lr", where, group.get("lr"))
            start = self._rates.pop(where, None)
            if start is not None and start != float(group["lr"]) and not optimizer.state:
                patient.write("optimizer.early_schedule", start, where)
            self._note(patient, "optimizer.momentum", where, group.get("momentum", (group.get("betas") or (None,))[0]))
            self._note(patient, "optimizer.weight_decay", where, group.get("weight_decay"))
        if label in self._had_state and not optimizer.state:
            patient.write("optimizer.state_lost", 1, label)
            self._had_state.discard(label)

    def after_step(self, patient: Patient, optimizer: torch.optim.Optimizer) -> None:
        if optimizer.state:
            self._had_state.add(patient.label(optimizer))
        self._steps += 1
        if self._steps >= 3 and self._told_held != len(self._held):
            self._tell_held(patient)

    def finish(self, patient: Patient) -> None:
        for optimizer in patient.optimizers:  # given, but never stepped
            if patient.label(optimizer) not in self._held:
                self._greet(patient, optimizer, patient.label(optimizer))
        if self._held and self._told_held != len(self._held):
            self._tell_held(patient)

    def _greet(self, patient: Patient, optimizer: torch.optim.Optimizer, label: str) -> None:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        shared = max((len(held & other) for other in self._held.values()), default=0)
        if shared and shared >= len(held) / 2 and patient.steps_done:
            patient.write("optimizer.replaced", shared)
        self._held[label] = held
        foreign = sum(1 for key in held if key not in patient.parameter_names)
        patient.write("optimizer.kind", type(optimizer).__name__, label)
        patient.write("optimizer.foreign", foreign, label)
        patient.write("optimizer.scheduled", int(any("initial_lr" in g for g in optimizer.param_groups)), label)
        decoupled = type(optimizer).__name__ == "AdamW" or bool(optimizer.defaults.get("decoupled_weight_decay"))
        patient.write("optimizer.decoupled", int(decoupled), label)
        for group in optimizer.param_groups:
            for p in group["params"]:
                if id(p) in patient.parameter_names:
                    decay = float(group.get("weight_decay") or 0.0)
                    patient.write("parameter.weight_decay", decay, patient.parameter_names[id(p)])

    def _tell_held(self, patient: Patient) -> None:
        self._told_held = len(self._held)
        for key, name in patient.parameter_names.items():
            patient.write("parameter.held", sum(key in held for held in self._held.values()), name)

    def _note(self, patient: Patient, name: str, where: str, value: float | None) -> None:
        if value is None:
            return
        value = float(value)
        if self._settings.get((name, where)) != value:
            self._settings[name, where] = value
            patient.write(name, value, where)

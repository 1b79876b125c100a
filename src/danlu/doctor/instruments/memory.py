"""Memory: graphs that outlive their step, and what process and device hold."""

from __future__ import annotations

import os
import weakref
from typing import Any

import torch
from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.patient import Pass, Patient


class _Mark:
    """Tied to a node of autograd's graph (Node.metadata): it dies with the node, and with it the graph."""


class Memory(Instrument):
    """Writes graph.* and memory.*"""

    name = "memory"

    def start(self, patient: Patient) -> None:
        self._marks: dict[str, list[weakref.ref]] = {"train": [], "val": []}
        self._passes = {"train": 0, "val": 0}

    def after_loss(self, patient: Patient, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> None:
        node = loss.grad_fn
        if node is not None:
            mark = _Mark()
            metadata: Any = node.metadata  # a property, though torch's stub has it as a method
            metadata["danlu.doctor"] = mark
            call.notes["mark"] = weakref.ref(mark)

    def settled(self, patient: Patient, call: Pass) -> None:
        self._passes[call.kind or "val"] += 1
        mark = call.notes.pop("mark", None)
        if mark is not None:
            self._marks[call.kind or "val"].append(mark)

    def after_step(self, patient: Patient, optimizer: torch.optim.Optimizer) -> None:
        if patient.step == 2 or patient.step % 128 == 0:
            patient.write("memory.process_step", resident())

    def end_epoch(self, patient: Patient) -> None:
        for phase, marks in self._marks.items():
            if self._passes[phase]:
                # The loop may still hold the last loss of all: that is no fault.
                alive = sum(mark() is not None for mark in marks[:-1])
                patient.write("graph.alive", alive, phase, patient.epoch)
                patient.write("graph.passes", self._passes[phase], phase, patient.epoch)
            self._passes[phase] = 0
            self._marks[phase] = [mark for mark in marks if mark() is not None][-4096:]
        patient.write("memory.process", resident(), step=patient.epoch)
        if patient.device.type == "cuda":
            patient.write("memory.device", torch.cuda.memory_allocated(patient.device), step=patient.epoch)


def resident() -> int:
    """Resident memory of the process in bytes; elsewhere than on Linux the highest it has been."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

"""Memory: graphs that outlive their step, and what process and device hold."""

from __future__ import annotations

import ctypes
import sys
import weakref
from functools import cache
from typing import Any

import torch
from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.watched_model import Pass, WatchedModel


class _Mark:
    """Tied to a node of autograd's graph (Node.metadata): it dies with the node, and with it the graph."""


class Memory(Instrument):
    """Writes graph.* and memory.*"""

    name = "memory"

    def start(self, watched: WatchedModel) -> None:
        self._marks: dict[str, list[weakref.ref]] = {"train": [], "val": []}
        self._passes = {"train": 0, "val": 0}

    def after_loss(self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> None:
        node = loss.grad_fn
        if node is not None:
            mark = _Mark()
            metadata: Any = node.metadata  # a property, though torch's stub has it as a method
            metadata["danlu.doctor"] = mark
            call.notes["mark"] = weakref.ref(mark)

    def settled(self, watched: WatchedModel, call: Pass) -> None:
        self._passes[call.kind or "val"] += 1
        mark = call.notes.pop("mark", None)
        if mark is not None:
            self._marks[call.kind or "val"].append(mark)

    def after_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> None:
        if watched.step == 2 or watched.step % 128 == 0:
            watched.write("memory.process_step", in_use())

    def end_epoch(self, watched: WatchedModel) -> None:
        for phase, marks in self._marks.items():
            if self._passes[phase]:
                # The loop may still hold the last loss of all: that is no fault.
                alive = sum(mark() is not None for mark in marks[:-1])
                watched.write("graph.alive", alive, phase, watched.epoch)
                watched.write("graph.passes", self._passes[phase], phase, watched.epoch)
            self._passes[phase] = 0
            self._marks[phase] = [mark for mark in marks if mark() is not None][-4096:]
        watched.write("memory.process", in_use(), step=watched.epoch)
        if watched.device.type == "cuda":
            watched.write("memory.device", torch.cuda.memory_allocated(watched.device), step=watched.epoch)


def in_use() -> int:
    """Memory that the process uses, in bytes: resident, but for pages of files (they can be dropped) and for what the
    C heap holds free. Blocks of ever different sizes leave gaps in the heap, and it grows for long without a leak."""
    return max(0, resident() - free_in_heap())


def resident() -> int:
    """Resident memory of the process without pages of files; elsewhere than on Linux the highest it has been."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            found = (line.split() for line in file if line.startswith(("RssAnon", "RssShmem")))
            return sum(int(kibibytes) for _, kibibytes, _ in found) * 1024
    except OSError:
        try:
            import resource
        except ImportError:  # Windows
            return 0
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def free_in_heap() -> int:
    """Bytes that the heap of glibc keeps for later, in all its arenas; 0 where there is no way of asking (mallinfo(3)).
    The heap is walked: some tenths of a millisecond, several where it is full of gaps."""
    ask = _mallinfo()
    return ask().fordblks if ask else 0


class _HeapInfo(ctypes.Structure):
    """struct mallinfo2 of malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


@cache
def _mallinfo() -> Any:
    """The C library's function, from glibc 2.33 on; None elsewhere."""
    function = getattr(ctypes.CDLL(None), "mallinfo2", None) if sys.platform == "linux" else None
    if function is not None:
        function.restype = _HeapInfo
    return function

"""Memory: graphs that outlive their step, and memory in use by process and device."""

from __future__ import annotations

import ctypes
import sys
import weakref
from functools import cache
from typing import Any

import torch
from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.observation.watched_model import Pass, WatchedModel


class _Mark:
    """Marker in the metadata of an autograd node; it is freed with the node and its graph."""


class Memory(Instrument):
    """Write graph.* and memory.*"""

    name = "memory"
    kept = ("_passes",)

    def start(self, watched: WatchedModel) -> None:
        self._marks: dict[str, list[weakref.ref]] = {"train": [], "val": []}
        self._passes = {"train": 0, "val": 0}

    def after_loss(self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> None:
        node = loss.grad_fn
        if node is not None:
            mark = _Mark()
            metadata: Any = node.metadata  # a property; the stub of torch declares a method
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
                # The loop may still hold its very last loss, which is no fault.
                alive = sum(mark() is not None for mark in marks[:-1])
                watched.write("graph.alive", alive, phase, watched.epoch)
                watched.write("graph.passes", self._passes[phase], phase, watched.epoch)
            self._passes[phase] = 0
            self._marks[phase] = [mark for mark in marks if mark() is not None][-4096:]
        watched.write("memory.process", in_use(), step=watched.epoch)
        if watched.device.type == "cuda":
            watched.write("memory.device", torch.cuda.memory_allocated(watched.device), step=watched.epoch)


def in_use() -> int:
    """Return the memory used by the process in bytes: resident, without file pages and without free heap blocks.

    Allocations of varying sizes fragment the heap, which then grows for a long time without a leak.
    """
    return max(0, resident() - free_in_heap())


def resident() -> int:
    """Return the resident memory in bytes without file pages; on macOS its peak, on Windows 0."""
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
    """Return the free bytes in all arenas of the glibc heap (mallinfo(3)); 0 with another C library.

    Walks the heap: some tenths of a millisecond, several if it is fragmented.
    """
    mallinfo = _mallinfo()
    return mallinfo().fordblks if mallinfo else 0


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
    """Return mallinfo2 of glibc >= 2.33, else None."""
    function = getattr(ctypes.CDLL(None), "mallinfo2", None) if sys.platform == "linux" else None
    if function is not None:
        function.restype = _HeapInfo
    return function

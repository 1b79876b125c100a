"""Schedulers that wait for a metric (ReduceLROnPlateau), which leave no trace in the optimizer before they act."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

Waiting = weakref.ref[ReduceLROnPlateau]


def waiting_schedulers(optimizers: Iterable[torch.optim.Optimizer]) -> list[Waiting]:
    """Find the schedulers of these optimizers among all objects of the program, which takes some milliseconds."""
    own = {id(optimizer) for optimizer in optimizers}
    every = (one for one in gc.get_objects() if issubclass(type(one), ReduceLROnPlateau))
    return [weakref.ref(one) for one in every if id(getattr(one, "optimizer", None)) in own]


def state_of(scheduler: ReduceLROnPlateau) -> list[str | float] | None:
    """Return [mode, best value so far]; None before it has received one."""
    best = getattr(scheduler, "best", None)
    return [str(scheduler.mode), float(best)] if isinstance(best, int | float) and abs(best) < float("inf") else None

"""Attributes that the modules of a user keep themselves (counters, caches, last outputs), saved around an extra run.

A forward() may count its calls, append to a list or keep its last output. A run of the doctor must leave no trace.
"""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from danlu.doctor.observation.calls import ATTRIBUTE

OF_TORCH = frozenset({*vars(nn.Module()), ATTRIBUTE}) - {"training"}  # parameters, buffers, children, hooks
CONTAINERS = (list, dict, set, deque)
MAX_DEPTH = 4  # of containers in containers


@contextmanager
def kept_attributes(model: nn.Module) -> Iterator[None]:
    """Restore the modes and the user's attributes of all modules at the end of the block.

    Inside the block tensors and containers are copies, so that changes in place do not reach the originals. Generators
    of random numbers return to their state. Other objects are left as they are.
    """
    saved = [(vars(module), _own(vars(module))) for module in model.modules()]
    undo = [action for _, own in saved for value in own.values() if (action := _rewind(value)) is not None]
    try:
        for attributes, own in saved:
            attributes.update({name: _copy(value) for name, value in own.items() if _may_change(value)})
        yield
    finally:
        for attributes, own in saved:
            for name in _own(attributes).keys() - own.keys():
                del attributes[name]
            attributes.update(own)
        for action in undo:
            action()


def _own(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name not in OF_TORCH}


def _may_change(value: Any) -> bool:
    return isinstance(value, (Tensor, np.ndarray, *CONTAINERS))


def _copy(value: Any, depth: int = 0) -> Any:
    """Copy of a tensor or a container; a tensor with a graph and any other object stay the same."""
    if isinstance(value, Tensor):
        return value if value.requires_grad else value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if depth == MAX_DEPTH or not isinstance(value, CONTAINERS):
        return value
    made: Any = copy.copy(value)
    if isinstance(value, dict):
        made.update({key: _copy(item, depth + 1) for key, item in value.items()})
    elif isinstance(value, list | deque):
        for place, item in enumerate(value):
            made[place] = _copy(item, depth + 1)
    return made


def _rewind(value: Any) -> Callable[[], Any] | None:
    """Action that sets a generator of random numbers back to its present state; None for other objects."""
    if isinstance(value, torch.Generator):
        state = value.get_state()
        return lambda: value.set_state(state)
    if isinstance(value, random.Random):
        python = value.getstate()
        return lambda: value.setstate(python)
    if isinstance(value, np.random.Generator):
        bits = value.bit_generator
        known = bits.state
        return lambda: setattr(bits, "state", known)
    return None

"""One pair of global step hooks of torch for all doctors of a process.

torch iterates over its dictionary of global step hooks while it calls them, and another thread may be in the middle of
that when a doctor starts or ends. The dictionary is therefore replaced where possible, and not changed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch.optim.optimizer as torch_optimizer
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

Before = Callable[[Optimizer, tuple, dict], Any]
After = Callable[[Optimizer, tuple, dict], object]
_lock = threading.Lock()
_listeners: list[StepHooks] = []
_installed: list[_Installed] = []


class StepHooks:
    """Callbacks before and after each step of any optimizer, from `StepHooks(...)` until `remove`."""

    def __init__(self, before: Before | None, after: After | None) -> None:
        """before: may return (args, kwargs) of the step, as a hook of torch."""
        self.before, self.after = before, after
        with _lock:
            _listeners.append(self)
            if len(_listeners) == 1:
                _installed[:] = [
                    _Installed("_global_optimizer_pre_hooks", register_optimizer_step_pre_hook, _before_step),
                    _Installed("_global_optimizer_post_hooks", register_optimizer_step_post_hook, _after_step),
                ]

    def remove(self) -> None:
        """Stop the callbacks; may be called more than once."""
        with _lock:
            if self not in _listeners:
                return
            _listeners.remove(self)
            if not _listeners:
                for one in _installed:
                    one.remove()
                _installed.clear()


class _Installed:
    """One global hook, in a dictionary of its own while there are no other hooks."""

    def __init__(self, name: str, register: Callable[[Any], Any], hook: Callable) -> None:
        self.name, self.empty = name, vars(torch_optimizer).get(name)
        if self.empty is not None and not self.empty:
            setattr(torch_optimizer, name, OrderedDict())
        self.dictionary = vars(torch_optimizer).get(name)
        self.handle = register(hook)

    def remove(self) -> None:
        replaced = self.dictionary is not self.empty and vars(torch_optimizer).get(self.name) is self.dictionary
        if replaced and len(self.dictionary or ()) == 1:  # no other hook was registered meanwhile
            setattr(torch_optimizer, self.name, self.empty)
        else:
            self.handle.remove()


def _before_step(optimizer: Optimizer, args: tuple, kwargs: dict) -> Any:
    changed = None
    for one in tuple(_listeners):
        if one.before is not None:
            result = one.before(optimizer, args, kwargs)
            if result is not None:
                args, kwargs = changed = result
    return changed


def _after_step(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
    for one in tuple(_listeners):
        if one.after is not None:
            one.after(optimizer, args, kwargs)

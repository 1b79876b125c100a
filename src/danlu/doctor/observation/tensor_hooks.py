"""Hooks on tensors of a training; `remove` removes those that are left."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor


class TensorHooks:
    """Register hooks on tensors, and remove those whose tensors are still alive."""

    def __init__(self) -> None:
        self._live: weakref.WeakSet[_TensorHook] = weakref.WeakSet()

    def add(self, tensor: Tensor, callback: Callable[[Tensor], object]) -> None:
        """Call `callback` with the gradient of `tensor`, which is kept as it is."""
        hook = _TensorHook(callback)
        hook.handle = tensor.register_hook(hook)
        self._live.add(hook)

    def remove(self) -> None:
        """Remove all of them."""
        for hook in list(self._live):
            hook.handle.remove()
            hook.callback = None
        self._live = weakref.WeakSet()


class _TensorHook:
    """A hook that only its tensor keeps alive."""

    __torch_unserializable__ = True  # torch warns when a tensor with hooks is saved, unless they have this mark

    def __init__(self, callback: Callable[[Tensor], object]) -> None:
        self.callback: Callable[[Tensor], object] | None = callback
        self.handle: Any = None

    def __call__(self, gradient: Tensor) -> None:
        if self.callback is not None:
            self.callback(gradient)

    def __deepcopy__(self, memo: dict) -> _TensorHook:
        return _TensorHook(lambda gradient: None)

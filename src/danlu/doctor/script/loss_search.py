"""Find the losses of a program: loss functions and loss modules of torch, and the tensor a backward pass starts from.

The functions of torch.nn.functional and torch.autograd.backward are wrapped, so that a program without a loss pays
nothing; a loss written by hand is known as the tensor whose `.backward()` is called, before a GradScaler has scaled it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.doctor.loss.loss_kind import FUNCTIONS, kind_of
from danlu.doctor.observation.calls import observe
from danlu.doctor.script.patches import Patches

OnLoss = Callable[[Any, tuple, dict, Tensor, str], None]


class LossSearch:
    """Report each loss: `on_loss(function, args, kwargs, loss, by)`, and `on_backward(loss)` before each backward."""

    def __init__(self, on_loss: OnLoss, on_backward: Callable[[Tensor], None]) -> None:
        self.on_loss, self.on_backward = on_loss, on_backward
        self._patches = Patches()
        self._handles: list[Any] = []
        self._hooked: set[int] = set()
        self._module: nn.Module | None = None  # the loss module that is running: functions inside it are parts of it
        self._scaled: Tensor | None = None  # the loss that a GradScaler scaled last

    def attach(self) -> None:
        """Wrap the loss functions of torch, `torch.autograd.backward` and `GradScaler.scale`."""
        originals = {function.__name__: function for function in FUNCTIONS if hasattr(F, function.__name__)}
        for name, function in originals.items():
            self._patches.wrap(F, name, self._function(function))
        self._patches.wrap(torch.autograd, "backward", self._backward)
        self._patches.wrap(torch.amp.GradScaler, "scale", self._scale)  # pyright: ignore[reportPrivateImportUsage]

    def detach(self) -> None:
        """Restore the functions of torch."""
        self._patches.undo()
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def module_called(self, module: nn.Module) -> None:
        """Hook a module that is about to be called for the first time, if it is a loss."""
        if id(module) in self._hooked or kind_of(module) is None:
            return
        self._hooked.add(id(module))
        self._module = module
        observer = observe(module, self._before_module, self._after_module)
        self._handles.append(observer)
        observer.end_running_call()

    def _before_module(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        if not torch.compiler.is_compiling():
            self._module = module

    def _after_module(self, module: nn.Module, args: tuple, kwargs: dict, loss: Any) -> None:
        if torch.compiler.is_compiling():
            return
        self._module = None
        if isinstance(loss, Tensor):
            self.on_loss(module, args, kwargs, loss, "module")

    def _function(self, function: Callable) -> Callable:
        def observed(original: Callable, *args: Any, **kwargs: Any) -> Any:
            loss = original(*args, **kwargs)
            if not torch.compiler.is_compiling() and self._module is None and isinstance(loss, Tensor):
                self.on_loss(function, args, kwargs, loss, "function")
            return loss

        return observed

    def _scale(self, original: Callable, scaler: Any, outputs: Any) -> Any:
        scaled = original(scaler, outputs)
        if isinstance(outputs, Tensor) and isinstance(scaled, Tensor):
            self._scaled = outputs
        return scaled

    def _backward(self, original: Callable, tensors: Any, *args: Any, **kwargs: Any) -> Any:
        self._module = None
        if not torch.compiler.is_compiling():
            loss, self._scaled = self._scaled, None
            if loss is None and isinstance(tensors, Tensor):
                loss = tensors
            if loss is not None and loss.numel() == 1:
                self.on_backward(loss)
        return original(tensors, *args, **kwargs)

"""Attaching to a training by public hooks, and taking every one of them off again.

the model            register_forward_pre_hook, register_forward_hook, and a tensor hook on its outputs; after
                     model.compile() those would be compiled along: then its compiled call is wrapped instead
the optimisers       the global step hooks of torch.optim.optimizer: they see optimisers made later, too
the loss             a module: its forward hook. Unknown: the global forward hook of modules until a loss was seen.
                     A function: torch.overrides.TorchFunctionMode for as long as the doctor watches (some 1.4 us per
                     call of torch; pass a loss module, or wrap the function by doctor.loss, to spare it). It steps
                     aside where attention runs without gradients: under a mode torch takes other kernels there.
                     Where the model is compiled no global hook: to take it off would compile the model again
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode, _get_current_function_mode

from danlu.doctor.losses import FUNCTIONS, kind_of
from danlu.doctor.optimizer_closures import when_ready
from danlu.doctor.training_events import Course
from danlu.doctor.watched_model import Patient, tensors_in

FUSED = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)  # without gradients


class Hooks:
    """`attach` puts the hooks on, `detach` takes them off."""

    def __init__(self, patient: Patient, course: Course) -> None:
        self.patient = patient
        self.course = course
        self._handles: list[Any] = []
        self._searching: Any = None
        self._mode: _Listener | None = None
        self._aside = False  # the mode, for the length of one call of the model
        self._fused = any(isinstance(module, FUSED) for module in patient.inner.modules())
        self._stepping: torch.optim.Optimizer | None = None

    def attach(self) -> None:
        model, loss_fn = self.patient.model, self.patient.loss_fn
        self._handles = [
            *self._at_the_model(model),
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        if not self.patient.compiled:
            self._searching = register_module_forward_hook(self._search_loss, with_kwargs=True)
        elif isinstance(loss_fn, nn.Module):
            self._handles.append(loss_fn.register_forward_hook(self._after_loss_module, with_kwargs=True))
        if isinstance(loss_fn, nn.Module):
            return
        self._mode = _Listener(self._after_loss_function, self._backward_called)
        self._mode.__enter__()

    def _at_the_model(self, model: nn.Module) -> list[Any]:
        call = getattr(model, "_compiled_call_impl", None)
        if call is not None:
            return [_Around(model, call, self._before_forward, self._after_forward)]
        return [
            model.register_forward_pre_hook(self._before_forward, with_kwargs=True),
            model.register_forward_hook(self._after_forward, with_kwargs=True),
        ]

    def stop_searching(self) -> None:
        """The loop tells the loss itself: nothing needs to be looked for."""
        self._end_search()
        if self._mode is not None:
            self._step_back()
            self._mode.__exit__(None, None, None)
            self._mode = None

    def _step_aside(self) -> None:
        on_top = self._mode is not None and _get_current_function_mode() is self._mode
        if on_top and self._fused and not torch.is_grad_enabled():
            self._mode.__exit__(None, None, None)
            self._aside = True

    def _step_back(self) -> None:
        if self._aside and self._mode is not None:
            self._mode.__enter__()
        self._aside = False

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self.stop_searching()

    def _end_search(self) -> None:
        """The global hook goes, and with it the note that it wants keywords, which torch's own handle leaves behind."""
        if self._searching is not None:
            self._searching.remove()
            getattr(torch.nn.modules.module, "_global_forward_hooks_with_kwargs", {}).pop(self._searching.id, None)
            self._searching = None

    # The model.

    def _before_forward(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        if not self.patient.paused:
            self._stepping = None  # by a closure; or a step that broke down never ended
            self.course.opened(args, kwargs)
            self._step_aside()

    def _after_forward(self, module: nn.Module, args: tuple, kwargs: dict, outputs: Any) -> None:
        if self.patient.paused:
            return
        self._step_back()
        self.course.returned(outputs)
        loss = outputs.get("loss") if isinstance(outputs, dict) else getattr(outputs, "loss", None)
        if isinstance(loss, Tensor) and loss.dim() == 0:  # models that return their loss, as Hugging Face's do
            logits = outputs.get("logits") if isinstance(outputs, dict) else getattr(outputs, "logits", None)
            self.course.told_loss(loss, logits, kwargs.get("labels"), "output")

    # The optimisers.

    def _concerns(self, optimizer: torch.optim.Optimizer) -> bool:
        """An optimiser that was given, or that holds parameters of the model, or the only one there is."""
        patient = self.patient
        if any(optimizer is seen for seen in patient.optimizers):
            return True
        names = patient.parameter_names
        if any(id(p) in names for group in optimizer.param_groups for p in group["params"]) or not patient.optimizers:
            patient.optimizers.append(optimizer)
            return True
        return False

    def _before_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> Any:
        if self.patient.paused or self._stepping not in (None, optimizer):
            return None  # of one that another is made of: its steps are parts of the other's
        if self._concerns(optimizer):
            self._stepping = optimizer
            return when_ready(args, kwargs, lambda: self.course.about_to_step(optimizer))
        return None

    def _after_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        if not self.patient.paused and self._stepping in (None, optimizer) and self._concerns(optimizer):
            self._stepping = None
            self.course.stepped(optimizer)

    # The loss.

    def _after_loss_module(self, module: nn.Module, args: tuple, kwargs: dict, loss: Any) -> None:
        self._loss(module, args, kwargs, loss, "module")

    def _search_loss(self, module: nn.Module, args: tuple, kwargs: dict, loss: Any) -> None:
        """Every module's forward passes here until one is the loss; from then on only that one."""
        if self.patient.paused or self.course.current is None:
            return
        if module is not self.patient.loss_fn:
            inside = any(module is part for part in self.patient.leaves.values())
            if inside or kind_of(module) is None:
                return
        self._loss(module, args, kwargs, loss, "module")
        self._handles.append(module.register_forward_hook(self._after_loss_module, with_kwargs=True))
        self._end_search()

    def _after_loss_function(self, function: Callable, args: tuple, kwargs: dict, loss: Any) -> None:
        self._loss(function, args, kwargs, loss, "function")

    def _loss(self, function: Any, args: tuple, kwargs: dict, loss: Any, by: str) -> None:
        if self.patient.paused or not isinstance(loss, Tensor):
            return
        tensors = list(tensors_in((args, kwargs)))
        outputs, targets = ([*tensors, None, None])[:2]
        if self.course.current is not None and self.course.current.loss is None:
            # Without the outputs: they would keep the graph alive. They are the first argument.
            kept = ((None, *args[1:]), kwargs) if args else ((), {**kwargs, next(iter(kwargs)): None})
            self.patient.last_call = (function, *kept)
        self.course.told_loss(loss, outputs, targets, by)

    def wrapped(self, function: Callable) -> Callable:
        """`function`, telling the doctor what it was given and what it returned."""

        def loss(*args: Any, **kwargs: Any) -> Any:
            value = function(*args, **kwargs)
            self._loss(function, args, kwargs, value, "function")
            return value

        return loss

    def _backward_called(self, loss: Tensor) -> None:
        if not self.patient.paused and self.course.current is not None:
            self.course.told_loss(loss, None, None, "backward")


class _Around:
    """Hooks round the call of a model that is compiled in place; `remove` takes them off, as torch's handles do."""

    def __init__(self, model: nn.Module, call: Callable, before: Callable, after: Callable) -> None:
        def heard(*args: Any, **kwargs: Any) -> Any:
            before(model, args, kwargs)
            outputs = call(*args, **kwargs)
            after(model, args, kwargs, outputs)
            return outputs

        self.model, self.call = model, call
        model._compiled_call_impl = heard

    def remove(self) -> None:
        self.model._compiled_call_impl = self.call


class _Listener(TorchFunctionMode):
    """Sees calls of torch.nn.functional's losses and of Tensor.backward; changes none."""

    def __init__(self, on_loss: Callable, on_backward: Callable) -> None:
        super().__init__()
        self.on_loss, self.on_backward = on_loss, on_backward

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is Tensor.backward:
            self.on_backward(args[0])
        result = func(*args, **kwargs) if kwargs else func(*args)
        if func in FUNCTIONS:
            self.on_loss(func, args, kwargs or {}, result)
        return result

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
from danlu.doctor.optimizer_closures import run_when_gradient_is_ready
from danlu.doctor.training_events import TrainingEvents
from danlu.doctor.watched_model import WatchedModel, tensors_in

FUSED = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)  # without gradients


class Hooks:
    """`attach` puts the hooks on, `detach` takes them off."""

    def __init__(self, watched: WatchedModel, events: TrainingEvents) -> None:
        self.watched = watched
        self.events = events
        self._handles: list[Any] = []
        self._searching: Any = None
        self._mode: LossFunctionMode | None = None
        self._aside = False  # the mode, for the length of one call of the model
        self._fused = any(isinstance(module, FUSED) for module in watched.inner.modules())
        self._stepping: torch.optim.Optimizer | None = None

    def attach(self) -> None:
        model, loss_fn = self.watched.model, self.watched.loss_fn
        self._handles = [
            *self._at_the_model(model),
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        if not self.watched.compiled:
            self._searching = register_module_forward_hook(self._search_loss, with_kwargs=True)
        elif isinstance(loss_fn, nn.Module):
            self._handles.append(loss_fn.register_forward_hook(self._after_loss_module, with_kwargs=True))
        if isinstance(loss_fn, nn.Module):
            return
        self._mode = LossFunctionMode(self._after_loss_function, self._backward_called)
        self._mode.__enter__()

    def _at_the_model(self, model: nn.Module) -> list[Any]:
        call = getattr(model, "_compiled_call_impl", None)
        if call is not None:
            return [CompiledCallHooks(model, call, self._before_forward, self._after_forward)]
        return [
            model.register_forward_pre_hook(self._before_forward, with_kwargs=True),
            model.register_forward_hook(self._after_forward, with_kwargs=True),
        ]

    def stop_searching(self) -> None:
        """The loop tells the loss itself: nothing needs to be looked for."""
        self._end_search()
        if self._mode is not None:
            self._resume_mode()
            self._mode.__exit__(None, None, None)
            self._mode = None

    def _suspend_mode(self) -> None:
        on_top = self._mode is not None and _get_current_function_mode() is self._mode
        if on_top and self._fused and not torch.is_grad_enabled():
            self._mode.__exit__(None, None, None)
            self._aside = True

    def _resume_mode(self) -> None:
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
        if not self.watched.paused:
            self._stepping = None  # by a closure; or a step that broke down never ended
            self.events.forward_started(args, kwargs)
            self._suspend_mode()

    def _after_forward(self, module: nn.Module, args: tuple, kwargs: dict, outputs: Any) -> None:
        if self.watched.paused:
            return
        self._resume_mode()
        self.events.forward_ended(outputs)
        loss = outputs.get("loss") if isinstance(outputs, dict) else getattr(outputs, "loss", None)
        if isinstance(loss, Tensor) and loss.dim() == 0:  # models that return their loss, as Hugging Face's do
            logits = outputs.get("logits") if isinstance(outputs, dict) else getattr(outputs, "logits", None)
            self.events.loss_computed(loss, logits, kwargs.get("labels"), "output")

    # The optimisers.

    def _concerns(self, optimizer: torch.optim.Optimizer) -> bool:
        """An optimiser that was given, or that holds parameters of the model, or the only one there is."""
        watched = self.watched
        if any(optimizer is seen for seen in watched.optimizers):
            return True
        names = watched.parameter_names
        if any(id(p) in names for group in optimizer.param_groups for p in group["params"]) or not watched.optimizers:
            watched.optimizers.append(optimizer)
            return True
        return False

    def _before_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> Any:
        if self.watched.paused or self._stepping not in (None, optimizer):
            return None  # of one that another is made of: its steps are parts of the other's
        if self._concerns(optimizer):
            self._stepping = optimizer
            return run_when_gradient_is_ready(args, kwargs, lambda: self.events.step_started(optimizer))
        return None

    def _after_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        if not self.watched.paused and self._stepping in (None, optimizer) and self._concerns(optimizer):
            self._stepping = None
            self.events.step_ended(optimizer)

    # The loss.

    def _after_loss_module(self, module: nn.Module, args: tuple, kwargs: dict, loss: Any) -> None:
        self._loss(module, args, kwargs, loss, "module")

    def _search_loss(self, module: nn.Module, args: tuple, kwargs: dict, loss: Any) -> None:
        """Every module's forward passes here until one is the loss; from then on only that one."""
        if self.watched.paused or self.events.current is None:
            return
        if module is not self.watched.loss_fn:
            inside = any(module is part for part in self.watched.leaves.values())
            if inside or kind_of(module) is None:
                return
        self._loss(module, args, kwargs, loss, "module")
        self._handles.append(module.register_forward_hook(self._after_loss_module, with_kwargs=True))
        self._end_search()

    def _after_loss_function(self, function: Callable, args: tuple, kwargs: dict, loss: Any) -> None:
        self._loss(function, args, kwargs, loss, "function")

    def _loss(self, function: Any, args: tuple, kwargs: dict, loss: Any, by: str) -> None:
        if self.watched.paused or not isinstance(loss, Tensor):
            return
        tensors = list(tensors_in((args, kwargs)))
        outputs, targets = ([*tensors, None, None])[:2]
        if self.events.current is not None and self.events.current.loss is None:
            # Without the outputs: they would keep the graph alive. They are the first argument.
            kept = ((None, *args[1:]), kwargs) if args else ((), {**kwargs, next(iter(kwargs)): None})
            self.watched.last_call = (function, *kept)
        self.events.loss_computed(loss, outputs, targets, by)

    def wrapped(self, function: Callable) -> Callable:
        """`function`, telling the doctor what it was given and what it returned."""

        def loss(*args: Any, **kwargs: Any) -> Any:
            value = function(*args, **kwargs)
            self._loss(function, args, kwargs, value, "function")
            return value

        return loss

    def _backward_called(self, loss: Tensor) -> None:
        if not self.watched.paused and self.events.current is not None:
            self.events.loss_computed(loss, None, None, "backward")


class CompiledCallHooks:
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


class LossFunctionMode(TorchFunctionMode):
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

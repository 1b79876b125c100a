"""Attach to a training by public hooks of PyTorch, and detach all of them again.

model        `calls.observe`, which copies and pickles of the model leave out, and a tensor hook on the outputs.
optimizers   the global step hooks of torch.optim.optimizer, which also cover optimizers created later.
loss         A module: `calls.observe`. Unknown: the global forward hook of modules, until a loss was seen.
             A function: a torch.overrides.TorchFunctionMode while watching (about 1.4 us per torch call; pass a loss
             module, or wrap the function by doctor.loss, to avoid it). The mode is suspended where attention runs
             without gradients, because torch selects other kernels under a mode.
             No global hook on compiled models: removing it would trigger a recompilation.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.overrides import TorchFunctionMode, _get_current_function_mode, _pop_mode, _push_mode

from danlu.doctor.loss.loss_kind import FUNCTIONS, PAIRS, SQUARED, kind_of
from danlu.doctor.observation.budget import FREE_STEPS
from danlu.doctor.observation.calls import Observer, kwargs_of_call, observe
from danlu.doctor.observation.optimizer_closures import run_when_gradient_is_ready
from danlu.doctor.observation.step_hooks import StepHooks
from danlu.doctor.observation.watched_model import Pass, WatchedModel, tensors_in
from danlu.doctor.training_events import TrainingEvents

# Modules with fused kernels for passes without gradients.
FUSED = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)


class Hooks:
    """All hooks of one doctor: `attach` and `detach`.

    searches: look for the loss and for optimizers of this model's parameters; else only optimizers that hold some of
    them count, and losses come by `loss_computed` and `backward_called`.
    """

    def __init__(self, watched: WatchedModel, events: TrainingEvents, searches: bool = True) -> None:
        self.watched = watched
        self.searches = searches
        self.events = events
        self._handles: list[Any] = []
        self._model_calls: Observer
        self._searching: Any = None
        self._mode: LossFunctionMode | None = None
        self._suspended = False  # the mode, during one call of the model
        self._fused = any(isinstance(module, FUSED) for module in watched.inner.modules())
        self._stepping: torch.optim.Optimizer | None = None
        self._thread = 0  # of the last call of the model
        self._failed = False  # an error of the doctor: everything is ignored from then on

    def attach(self) -> None:
        """Observe the calls of model and loss, and the steps of the optimizers."""
        model, loss_fn = self.watched.model, self.watched.loss_fn
        self._model_calls = observe(
            model, self._safe(self._before_forward), self._safe(self._after_forward), self._safe(self._forward_failed)
        )
        self._handles = [self._model_calls, StepHooks(self._safe(self._before_step), self._safe(self._after_step))]
        if not self.searches:
            return
        if not self.watched.compiled:
            self._searching = register_module_forward_hook(self._safe(self._search_loss))
        elif isinstance(loss_fn, nn.Module):
            self._handles.append(observe(loss_fn, after=self._safe(self._after_loss_module)))
        if isinstance(loss_fn, nn.Module):
            return
        self._mode = LossFunctionMode(self._safe(self._after_loss_function), self._safe(self.backward_called))
        self._mode.__enter__()

    def attach_to_running_call(self) -> None:
        """Observe also the end of the call of the model that runs at this moment."""
        self._model_calls.end_running_call()

    def _safe(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a callback so that an error of the doctor ends the watching instead of the training."""

        def safe(*args: Any) -> Any:
            if self._failed:
                return None
            try:
                return callback(*args)
            except Exception as error:
                self._failed = True
                text = f"the doctor failed and stopped watching: {type(error).__name__}: {error}".splitlines()[0]
                self.watched.mark_unobservable("doctor", text)
                return None

        return safe

    def stop_searching(self) -> None:
        """Stop looking for the loss: the loop reports it by `doctor.observe`."""
        self._end_search()
        if self._mode is not None:
            self._resume_mode()
            self._mode.remove()
            self._mode = None

    def _suspend_mode(self) -> None:
        mode = self._mode
        if mode is None or _get_current_function_mode() is not mode:
            return
        if self._fused and not torch.is_grad_enabled():
            mode.__exit__(None, None, None)
            self._suspended = True

    def _resume_mode(self) -> None:
        if self._suspended and self._mode is not None:
            self._mode.__enter__()
        self._suspended = False

    def detach(self) -> None:
        """Remove all hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self.stop_searching()

    def release(self) -> None:
        """Drop the references that a loss function wrapped by `wrapped` would keep."""
        self._failed = True
        self._stepping = None

    def _end_search(self) -> None:
        """Remove the global hook."""
        if self._searching is not None:
            self._searching.remove()
            self._searching = None

    # Model.

    def _before_forward(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        if not self.watched.paused:
            self._stepping = None  # inside a closure, or the last step raised
            self._thread = threading.get_ident()
            self.events.forward_started(args, kwargs)
            self._suspend_mode()

    def _after_forward(self, module: nn.Module, args: tuple, kwargs: dict, outputs: Any) -> None:
        if self.watched.paused:
            return
        self._resume_mode()
        self.events.forward_ended(outputs)
        loss = outputs.get("loss") if isinstance(outputs, dict) else getattr(outputs, "loss", None)
        if isinstance(loss, Tensor) and loss.dim() == 0:  # models that return their loss (Hugging Face)
            logits = outputs.get("logits") if isinstance(outputs, dict) else getattr(outputs, "logits", None)
            self.events.loss_computed(loss, logits, kwargs.get("labels"), "output")

    def _forward_failed(self) -> None:
        self._resume_mode()
        self.events.forward_failed()

    # Optimizers.

    def _is_watched(self, optimizer: torch.optim.Optimizer) -> bool:
        """Return whether an optimizer was passed by the user, holds parameters of the model, or is the only one."""
        watched = self.watched
        if any(optimizer is seen for seen in watched.optimizers):
            return True
        held = [id(p) for group in optimizer.param_groups for p in group["params"]]
        holds_some = any(key in watched.parameter_names for key in held)
        if not holds_some and optimizer not in watched.other_optimizers:
            now = set(map(id, watched.inner.parameters()))  # a layer may have been put in since the watching began
            holds_some = any(key in now for key in held)
        if not holds_some and self._thread not in (0, threading.get_ident()):
            return False  # of another training, in a thread of its own
        if holds_some or (self.searches and not watched.optimizers):
            watched.optimizers.append(optimizer)
            return True
        if optimizer not in watched.other_optimizers:
            watched.other_optimizers.add(optimizer)
            watched.write("optimizer.others", len(watched.other_optimizers))
        return False

    def _before_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> Any:
        if self.watched.paused or self._stepping not in (None, optimizer):
            return None  # an inner optimizer: its step is part of the outer one's
        if self._is_watched(optimizer):
            self._stepping = optimizer
            started = self._safe(lambda: self.events.step_started(optimizer))
            return run_when_gradient_is_ready(args, kwargs, started)
        return None

    def _after_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        if not self.watched.paused and self._stepping in (None, optimizer) and self._is_watched(optimizer):
            self._stepping = None
            self.events.step_ended(optimizer)

    # Loss.

    def _after_loss_module(self, module: nn.Module, args: tuple, kwargs: dict, loss: Any) -> None:
        self._loss(module, args, kwargs, loss, "module")

    def _search_loss(self, module: nn.Module, args: tuple, loss: Any) -> None:
        """Global forward hook: find the loss module, then observe that module only.

        It is registered without keyword arguments: torch keeps that choice in a second dictionary, which another thread
        may read after the hook was removed from it.
        """
        if self.watched.paused or self.events.current is None or self._thread != threading.get_ident():
            return
        if module is not self.watched.loss_fn:
            inside = any(module is part for part in self.watched.leaves.values())
            if inside or kind_of(module) is None:
                return
        self._loss(module, args, kwargs_of_call(), loss, "module")
        self._handles.append(observe(module, after=self._safe(self._after_loss_module)))
        self._end_search()

    def _after_loss_function(self, function: Callable, args: tuple, kwargs: dict, loss: Any) -> None:
        self._loss(function, args, kwargs, loss, "function")

    def _loss(self, function: Any, args: tuple, kwargs: dict, loss: Any, by: str) -> None:
        self.loss_computed(function, args, kwargs, loss, by)

    def loss_computed(
        self, function: Any, args: tuple, kwargs: dict, loss: Any, by: str, call: Pass | None = None
    ) -> None:
        """Record a loss with the arguments it was computed from. call: its pass, if it is known."""
        if self.watched.paused or not isinstance(loss, Tensor):
            return
        tensors = list(tensors_in((args, kwargs)))
        outputs, targets = ([*tensors, None, None])[:2]
        if kind_of(function) in PAIRS and len(tensors) > 2:
            targets = tensors[2]
        pass_of_loss = call or self.events.current
        if pass_of_loss is not None and pass_of_loss.loss is not None and loss.requires_grad:
            self._note_other_targets(function, targets)
        if self.events.current is not None and self.events.current.loss is None:
            # Without the first argument, the outputs: they would keep the graph alive.
            if args:
                self.watched.last_call = (function, (None, *args[1:]), kwargs)
            elif kwargs:
                self.watched.last_call = (function, (), {**kwargs, next(iter(kwargs)): None})
        self.events.loss_computed(loss, outputs, targets, by, call)

    def _note_other_targets(self, function: Any, targets: Any) -> None:
        """Record the scale of the targets of a second loss, a squared or absolute error, in the first steps."""
        if self.watched.step > FREE_STEPS or kind_of(function) not in SQUARED or not isinstance(targets, Tensor):
            return
        if targets.numel() > 1 and not targets.requires_grad:
            values = targets.detach().float()
            self.watched.write("loss.other_targets", [float(values.mean()), float(values.std())])

    def wrapped(self, function: Callable) -> Callable:
        """Wrap a loss function so that its arguments and result are recorded."""
        computed = self._safe(self._loss)

        def loss(*args: Any, **kwargs: Any) -> Any:
            value = function(*args, **kwargs)
            computed(function, args, kwargs, value, "function")
            return value

        return loss

    def backward_called(self, loss: Tensor, call: Pass | None = None) -> None:
        """Record the tensor that a backward pass starts from. call: its forward pass, if it is known."""
        if not self.watched.paused and self.events.current is not None:
            self.events.loss_computed(loss, None, None, "backward", call)


class LossFunctionMode(TorchFunctionMode):
    """Observe calls of the losses of torch.nn.functional and of Tensor.backward, without changing them."""

    def __init__(self, on_loss: Callable, on_backward: Callable) -> None:
        super().__init__()
        self.on_loss: Callable | None = on_loss
        self.on_backward: Callable | None = on_backward

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is Tensor.backward and self.on_backward is not None:
            self.on_backward(args[0])
        result = func(*args, **kwargs) if kwargs else func(*args)
        if func in FUNCTIONS and self.on_loss is not None:
            self.on_loss(func, args, kwargs or {}, result)
        return result

    def remove(self) -> None:
        """Take the mode off the stack of this thread, also from below modes of the user, and forget the doctor.

        On the stack of another thread, as when a suspended generator is closed there, it stays without effect.
        """
        self.on_loss = self.on_backward = None
        above = []
        while (top := _get_current_function_mode()) is not None and top is not self:
            above.append(_pop_mode())
        if top is self:
            _pop_mode()
        for mode in reversed(above):
            _push_mode(mode)

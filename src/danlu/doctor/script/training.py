"""One training of a program: the model, or the parts of it that are called separately, with its doctor."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from time import perf_counter
from typing import Any, cast

import torch
from torch import Tensor, nn

from danlu.doctor.diagnose import diagnose
from danlu.doctor.finding import Finding
from danlu.doctor.observation.calls import is_compiled_in_place, observe
from danlu.doctor.observation.watched_model import Pass, tensors_in
from danlu.doctor.script.loader_key import LoaderKey
from danlu.doctor.watch import Doctor

TAG = "danlu.pass"  # key in the metadata of autograd nodes
MAX_TAGGED = 8  # outputs of one call
MIN_EPOCH = 0.9  # fraction of a data loader that an epoch has used


class Training:
    """A doctor, and the hooks that report passes and epochs it cannot observe itself.

    name: the variable that holds the model. adversarial: other models are trained against this one by its losses.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        optimizers: Iterable[torch.optim.Optimizer],
        *,
        budget: float,
        language: str,
        parts: list[nn.Module] | None = None,
    ) -> None:
        self.name = name
        self.is_called = not isinstance(model, Tensors)
        self.kind = " + ".join(type(one).__name__ for one in parts or [model])
        self.language = language
        self.adversarial = False
        self.optimizer_kinds = sorted({type(one).__name__ for one in optimizers})
        self.loader_kind = ""
        doctor = Doctor(model, list(optimizers), None, budget=budget, language=language, searches=False)
        self.doctor: Doctor | None = doctor
        self.ledger = doctor.ledger
        self._parts = parts
        self._called: set[int] = set()  # parts called in the open pass
        self._is_open = False
        self._loader: LoaderKey | None = None
        self.called_at = 0.0  # time of the last call of the model
        self._passes = self._passes_at_start = 0  # training passes in this epoch, now and when a loader started last
        self._backwards_at_start = 0
        doctor.__enter__()
        if parts or not self.is_called:
            doctor.expect_no_replay()
        self._handles: list[Any] = []
        for module in parts or [model]:
            if not is_compiled_in_place(module):
                self._handles.append(observe(module, self._before, self._after))

    # Passes.

    def call_started(self, args: tuple, kwargs: dict) -> None:
        """Start the pass whose call had begun before this training was found."""
        if self.doctor is not None:
            self.doctor._events.forward_started(args, kwargs)
            if self._parts is None:
                self.doctor._hooks.attach_to_running_call()
                for handle in self._handles:
                    handle.end_running_call()
            self._passes += 1
            self.called_at = perf_counter()

    def _before(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        if self.doctor is None or self.doctor._watched.paused:
            return
        self._passes += torch.is_grad_enabled()
        self.called_at = perf_counter()
        if self._parts is None:
            return
        if not self._is_open or id(module) in self._called:
            self.end_parts(None)
            self.doctor._watched.model.training = module.training
            self.doctor._events.forward_started(args, kwargs)
            self._is_open = True
        self._called.add(id(module))

    def _after(self, module: nn.Module, args: tuple, kwargs: dict, outputs: Any) -> None:
        """Tag the autograd nodes of the outputs with the pass, so that the pass of a loss can be found."""
        if self.doctor is None or self.doctor._watched.paused:
            return
        call = self.doctor._events.current
        if call is None or not call.grad:
            return
        tag = (weakref.ref(self), weakref.ref(call))
        for index, tensor in enumerate(tensors_in(outputs)):
            if index == MAX_TAGGED:
                break
            if tensor.grad_fn is not None:
                cast(Any, tensor.grad_fn).metadata[TAG] = tag  # a dictionary, which the stubs call a method
                if self._parts is not None:
                    self.doctor._events.part_ended(call, tensor)

    def end_parts(self, outputs: Any) -> None:
        """End a pass through separate parts, with the outputs of the last one."""
        if self._parts is not None and self._is_open and self.doctor is not None:
            self._is_open = False
            self._called.clear()
            self.doctor._events.forward_ended(outputs)

    # Losses.

    def loss_computed(self, function: Any, args: tuple, kwargs: dict, loss: Tensor, by: str, call: Pass | None) -> None:
        """Record a loss of this training."""
        if self.doctor is not None:
            self.end_parts(next(tensors_in((args, kwargs)), loss))
            self.doctor._hooks.loss_computed(function, args, kwargs, loss, by, call)

    def backward_called(self, loss: Tensor, call: Pass | None) -> None:
        """Record the start of a backward pass."""
        if self.doctor is not None:
            self.end_parts(loss)
            self.doctor._hooks.backward_called(loss, call)

    def backward_without_call(self, loss: Tensor) -> None:
        """Record a backward pass to tensors that are used without a module, as a pass of its own."""
        if self.doctor is not None and not self.doctor._watched.paused:
            self._passes += 1
            self.called_at = perf_counter()
            self.doctor._events.forward_started((), {})
            self.doctor._events.forward_ended(loss)
            self.doctor._hooks.backward_called(loss, self.doctor._events.current)

    # Epochs.

    def loader_started(self, loader: LoaderKey, latest: LoaderKey | None) -> bool:
        """End the epoch if `loader`, which gave the last training batches, starts again. Return whether it ended.

        latest: the loader that was started before this one.
        """
        if self.doctor is None:
            return False
        backwards = self.doctor._events.backwards
        # Evaluation may record gradients too, but no backward pass follows.
        trained = backwards > self._backwards_at_start or not self.optimizer_kinds
        self._backwards_at_start = backwards
        if latest is not None and self._passes > self._passes_at_start and trained:
            self._loader = latest
            self.loader_kind = latest.kind
            self.doctor._events.epochs_by = "epoch()"
            if latest.samples:
                self.ledger.put("loader.samples", latest.samples, "", 0)
            if latest.weights:
                self.ledger.put("loader.weights", latest.weights, "", 0)
            if latest.repeats:
                self.ledger.put("loader.replacement", 1, "", 0)
        self._passes_at_start = self._passes
        if self._loader is None or not self._loader.is_same(loader):
            return False
        passes, self._passes, self._passes_at_start = self._passes, 0, 0
        if passes < max(2, MIN_EPOCH * loader.batches):
            self.doctor._events.epochs_by = "none"  # as by next(iter(loader)) in each step
            return False
        self.doctor.epoch()
        return True

    # End.

    @property
    def findings(self) -> list[Finding]:
        """Findings so far, see `Doctor.findings`."""
        return self.doctor.findings if self.doctor is not None else diagnose(self.ledger, self.language)

    def close(self) -> None:
        """Stop watching and drop the model; the ledger stays."""
        if self.doctor is not None:
            self.end_parts(None)
            for handle in self._handles:
                handle.remove()
            self._handles = []
            self.doctor.close()
            self.doctor, self._parts = None, None


class Parts(nn.Module):
    """Container of modules that are trained together and called separately; never called itself."""

    def __init__(self, parts: dict[str, nn.Module]) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


class Tensors(nn.Module):
    """Container of trained tensors that are used without a module; never called."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self._parameters.update({name.replace(".", "_"): cast(nn.Parameter, one) for name, one in tensors.items()})

"""Micro-batches of one optimizer step whose gradients are cleared before the step, so that only the last one counts.

Many loops clear gradients on purpose: sharpness-aware minimisation moves the weights in between, gradient surgery and
private training read the gradients and write others, attacks want that of the inputs. What is meant here leaves the
weights alone, runs on different samples each time, and steps with the gradient of the last micro-batch as it is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.instruments.gradients import sampled
from danlu.doctor.observation.budget import is_scheduled
from danlu.doctor.observation.watched_model import Pass, WatchedModel, tensors_in

MIN_ELEMENTS, MAX_ELEMENTS = 16, 256  # of the parameter that is looked at
MIN_COSINE = 0.999  # between the gradient of the step and that of the last micro-batch


class DiscardedMicroBatches(Instrument):
    """Write optimizer.discarded."""

    name = "discarded"
    kept = ("_accumulates", "_steps")

    def start(self, watched: WatchedModel) -> None:
        self._accumulates = False  # some step had several backward passes
        self._steps = 0
        self._handle: Any = None
        self._reset()

    def _reset(self) -> None:
        self._micro = self._waiting = 0
        self._regular = True  # a backward pass for each forward pass, without gradients of the inputs
        self._parameter: Tensor | None = None  # the parameter whose gradient is read, in measured steps
        self._inputs: list[Tensor] = []  # a number for each micro-batch
        self._weights: list[Tensor] = []
        self._cleared: list[Tensor] = []
        self._gradient: Tensor | None = None  # after the last backward pass

    def before_forward(self, watched: WatchedModel, call: Pass) -> None:
        if not call.grad:
            return
        if not self._micro and not self._waiting and self._accumulates and is_scheduled(self._steps + 1):
            self._measure(watched)
        self._waiting += 1
        if self._parameter is None:
            return
        given = list(tensors_in((call.args, call.kwargs)))
        self._regular &= bool(given) and not any(tensor.requires_grad for tensor in given)
        if given:
            self._inputs.append(given[0].detach().double().sum())

    def before_backward(self, watched: WatchedModel, call: Pass, gradient: Tensor) -> bool:
        self._micro += 1
        self._regular &= self._waiting == 1
        self._waiting = 0
        if self._parameter is None:
            return False
        self._weights.append(_sample(self._parameter))
        if self._micro > 1:
            left = self._parameter.grad
            self._cleared.append(torch.ones(()) if left is None else ~left.detach().any().cpu())
        return True

    def after_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> bool:
        self._accumulates |= self._micro > 1
        self._steps += 1
        parameter, gradient = self._parameter, self._gradient
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
        measured = parameter is not None and self._micro > 1
        if measured and parameter is not None:
            used = parameter.grad
            discarded = torch.zeros(())
            same_optimizer = len(watched.optimizers) == 1
            if same_optimizer and self._regular and gradient is not None and used is not None and not used.is_sparse:
                discarded = (self._micro - 1) * self._are_discarded(gradient, _sample(used)).float()
            watched.write_deferred("optimizer.discarded", discarded / self._micro)
        self._reset()
        return measured

    def finish(self, watched: WatchedModel) -> None:
        if self._handle is not None:
            self._handle.remove()
        self._reset()

    def _measure(self, watched: WatchedModel) -> None:
        trained = [p for p in watched.parameters.values() if p.requires_grad and p.numel()]
        if not trained or watched.distributed:
            return
        # Near the end no gradient is sparse, as those of embeddings and of the blank margin of images.
        wide = [p for p in trained if p.numel() >= MIN_ELEMENTS]
        self._parameter = wide[-1] if wide else max(trained, key=lambda p: p.numel())
        hook = watched.timed_hook(self.name, self._note_gradient)
        self._handle = self._parameter.register_post_accumulate_grad_hook(hook)

    def _note_gradient(self, parameter: Tensor) -> None:
        if parameter.grad is not None and not parameter.grad.is_sparse:
            self._gradient = _sample(parameter.grad)

    def _are_discarded(self, last: Tensor, used: Tensor) -> Tensor:
        """Return whether all gradients but the last were cleared, and the last one was used as it is (or clipped)."""
        sums = torch.stack(self._inputs)
        different = 2 * sums.unique().numel() > len(sums)  # sums of different samples may be equal by chance
        moved = any(bool((self._weights[0] != later).any()) for later in self._weights[1:])
        product, norms = last @ used, last.norm() * used.norm()
        same = (product > MIN_COSINE * norms) & (norms > 0)
        cleared = torch.stack([one.bool() for one in self._cleared]).all()
        return same.cpu() & cleared & different & (not moved)


def _sample(tensor: Tensor) -> Tensor:
    """Some elements of a tensor, as they are now."""
    return sampled(tensor.detach(), max(1, tensor.numel() // MAX_ELEMENTS)).to(torch.float32, copy=True)

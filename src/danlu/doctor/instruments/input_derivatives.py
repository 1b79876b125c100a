"""Derivatives of outputs with respect to inputs, as in a differential equation, that the loss takes as constants.

The inputs of such a training require gradients, and its outputs are differentiated before the loss is known.
Without create_graph=True the derivatives are plain numbers, and no gradient reaches the weights through them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.loss.graph import between
from danlu.doctor.loss.loss_kind import SUMS
from danlu.doctor.observation.budget import is_scheduled
from danlu.doctor.observation.watched_model import Pass, WatchedModel, tensors_in

MAX_OPERATIONS = 16  # on a tensor before it is given to the model, as t * 2
MAX_NODES = 2000  # of the graph of a term


class InputDerivatives(Instrument):
    """Write loss.constant_derivative."""

    name = "input_derivatives"

    def start(self, watched: WatchedModel) -> None:
        self._modes: dict[int, list[bool]] = {}  # pass -> was a graph made, each time it was differentiated
        self._constant = False  # a loss, or a term of it, has no gradient

    def before_forward(self, watched: WatchedModel, call: Pass) -> None:
        wanted = call.grad and is_scheduled(watched.step) and len(self._modes) < 64
        if wanted and any(map(is_differentiated, tensors_in((call.args, call.kwargs)))):
            self._modes[call.number] = []

    def after_forward(self, watched: WatchedModel, call: Pass, outputs: Any) -> None:
        modes = self._modes.get(call.number)
        output = next(tensors_in(outputs), None)
        if modes is None or output is None or not output.requires_grad or output.is_leaf:
            return
        hook = watched.timed_hook(self.name, lambda gradient: modes.append(gradient.requires_grad or made_graph()))
        watched.tensor_hooks.add(output, hook)

    def after_loss(self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> None:
        if not self._modes.get(call.number, True):  # not differentiated before its loss, as for an attack on the model
            del self._modes[call.number]
        graphs = [graph for modes in self._modes.values() for graph in modes]
        if not graphs:
            return
        if loss.grad_fn is None:
            self._constant |= call.grad and not any(graphs)
        elif loss.grad_fn.name() in SUMS:
            terms = [term for term, _ in loss.grad_fn.next_functions]
            self._constant |= not all(reaches(term, watched.parameter_names.keys()) for term in terms)

    def after_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> None:
        if not self._modes:
            return
        twice = any(len(modes) > 1 and not modes[0] for modes in self._modes.values())
        cut = self._constant or twice
        watched.write("loss.constant_derivative", int(cut))
        self._modes, self._constant = {}, False


def is_differentiated(inputs: Tensor) -> bool:
    """Return whether inputs require a gradient, by themselves or after a few operations that are no model's."""
    if inputs.is_leaf or not inputs.requires_grad:
        return inputs.requires_grad
    nodes = list(between(inputs.grad_fn, None, MAX_OPERATIONS))
    by_model = any(isinstance(getattr(node, "variable", None), nn.Parameter) for node in nodes)
    return len(nodes) < MAX_OPERATIONS and not by_model


def reaches(node: Any, parameters: Collection[int]) -> bool:
    """Return whether a term of a loss depends on one of the parameters (ids), as far as `MAX_NODES` nodes show."""
    seen = 0
    for one in between(node, None, MAX_NODES):
        if id(getattr(one, "variable", None)) in parameters:
            return True
        seen += 1
    return seen == MAX_NODES


def made_graph() -> bool:
    """Return whether the backward pass that runs now makes a graph of its own (create_graph=True)."""
    return torch.is_grad_enabled()

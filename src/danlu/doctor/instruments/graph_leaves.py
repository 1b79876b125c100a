"""Leaves of the autograd graph of the loss against the parameters of the model and of the optimisers.

A layer in a Python list, a plain tensor with requires_grad, and a layer created inside forward() take part in the loss
and get a gradient, but they are not in model.parameters(), so that an optimiser made from it never updates them. So do
tensors of the loop around the model that are neither samples of a batch nor changed by the loop itself.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor, nn

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.loss.graph import leaves, nodes, softmax_axis
from danlu.doctor.observation.variables import names_in_frames
from danlu.doctor.observation.watched_model import Pass, WatchedModel, tensors_in

MEASURED_PASSES = (2, 4)  # training passes; two, to distinguish tensors created in each pass from lasting ones
FREED_WITHIN = 3  # passes, for a parameter that was created in one
MAX_WRITTEN = 16  # leaves


class GraphLeaves(Instrument):
    """Write leaf.* and graph.softmax_of_one"""

    name = "graph_leaves"
    kept = ("_passes", "_created")

    def start(self, watched: WatchedModel) -> None:
        self._passes = 0
        self._before: list[weakref.ref] = []  # unregistered leaves of the first measured pass
        self._found: list[tuple[weakref.ref, str, int]] = []  # tensor, name, number of elements
        self._outside: list[tuple[weakref.ref, str, Tensor]] = []  # tensor of no module, name, and a copy
        self._inputs: set[int] = set()  # ids of the inputs of all passes, and lengths of their batches
        self._batches: set[int] = set()
        self._created = 0  # elements of parameters created anew in each pass
        self._new: list[tuple[weakref.ref, int]] = []  # parameters of the second pass alone
        self._waits = 0  # passes after it in which they may still be freed

    def after_loss(self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> None:
        if not call.grad or loss.grad_fn is None:
            return
        self._passes += 1
        if self._new:
            self._count_created()
            self._waits -= 1
            self._new = self._new if self._waits else []
        if self._passes > MEASURED_PASSES[1]:
            return
        given = list(tensors_in((call.args, call.kwargs, outputs, targets)))
        self._inputs |= {id(tensor) for tensor in given}
        self._batches |= {tensor.shape[0] for tensor in given if tensor.dim()}
        if self._passes not in MEASURED_PASSES:
            return
        known = watched.parameter_names.keys() | self._inputs
        unknown = [leaf for leaf in leaves(loss.grad_fn) if id(leaf) not in known]
        if self._passes == MEASURED_PASSES[0]:
            constant = constant_softmaxes(loss.grad_fn)
            if constant:
                watched.write("graph.softmax_of_one", constant)
            self._before = [weakref.ref(leaf) for leaf in unknown]
            return
        lasting = {id(tensor) for ref in self._before if (tensor := ref()) is not None}
        names = hidden_tensors(watched.inner) if unknown else {}
        variables = names_in_frames([leaf for leaf in unknown if id(leaf) in lasting and id(leaf) not in names])
        for leaf in unknown:
            if id(leaf) in lasting and id(leaf) in names:
                self._found.append((weakref.ref(leaf), names[id(leaf)], leaf.numel()))
            elif id(leaf) in variables and not self._may_be_data(leaf) and not isinstance(leaf, nn.Parameter):
                self._outside.append((weakref.ref(leaf), variables[id(leaf)], leaf.detach().clone()))
            elif id(leaf) not in lasting and isinstance(leaf, nn.Parameter):
                self._new.append((weakref.ref(leaf), leaf.numel()))
                self._waits = FREED_WITHIN

    def _may_be_data(self, leaf: Tensor) -> bool:
        return leaf.dim() > 0 and leaf.shape[0] in self._batches

    def _count_created(self) -> None:
        """Count the new parameters that are gone; one that stays belongs to another model of the program.

        The graph of a pass may live until the loss of the next one replaces it.
        """
        self._created += sum(size for ref, size in self._new if ref() is None)
        self._new = [one for one in self._new if one[0]() is not None]

    def finish(self, watched: WatchedModel) -> None:
        if not len(watched.optimizers):
            return  # a step written by hand may update any tensor
        optimizers = [*watched.optimizers, *watched.other_optimizers]
        held = {id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
        for ref, name, size in self._found[:MAX_WRITTEN]:
            leaf = ref()
            if leaf is not None and id(leaf) not in held:
                watched.write("leaf.unregistered", size, name)
        for ref, name, before in self._outside[:MAX_WRITTEN]:
            leaf = ref()
            if leaf is not None and id(leaf) not in held and torch.equal(leaf.detach(), before):
                watched.write("leaf.unregistered", before.numel(), name)
        self._count_created()
        if self._created:
            watched.write("leaf.created", self._created)


def constant_softmaxes(root: Any) -> int:
    """Number of softmaxes over an axis of length 1, which are always 1; 0 where one of as many axes is over more.

    A decoder may attend to one item at first, and to more later.
    """
    constant: dict[int, bool] = {}
    for node in nodes(root):
        known = softmax_axis(node) if node.name() == "SoftmaxBackward0" else None
        if known is not None:
            axis, shape = known
            constant[len(shape)] = constant.get(len(shape), True) and shape[axis : axis + 1] == [1]
    return sum(constant.values())


def hidden_tensors(model: nn.Module) -> dict[int, str]:
    """Map the id of each trainable tensor that a module keeps outside its parameters to its name in code."""
    found: dict[int, str] = {}
    for prefix, module in model.named_modules():
        at = f"model.{prefix}" if prefix else "model"
        for attribute, value in vars(module).items():
            if attribute not in ("_parameters", "_buffers", "_modules"):
                _collect(value, f"{at}.{attribute}", found, depth=3)
    return found


def _collect(value: Any, name: str, found: dict[int, str], depth: int) -> None:
    if isinstance(value, Tensor):
        if value.requires_grad:
            found.setdefault(id(value), name)
    elif isinstance(value, nn.Module):
        for inner, p in value.named_parameters():
            found.setdefault(id(p), f"{name}.{inner}")
    elif depth and isinstance(value, list | tuple | dict) and len(value) <= 1000:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            if isinstance(item, Tensor | nn.Module | list | tuple | dict):
                _collect(item, f"{name}[{key!r}]", found, depth - 1)

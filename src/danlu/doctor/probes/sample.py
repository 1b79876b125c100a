"""A few samples of a training batch that can be given to the model again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from danlu.doctor.observation.watched_model import Pass, tensors_in

MAX_SAMPLES = 8


@dataclass
class FirstSamples:
    """The first samples of a batch.

    inputs: first tensor passed to the model, samples in dimension 0. targets: of the same samples where known.
    batch: number of samples of the whole batch; labels: number of targets of the whole batch, None if unknown.
    """

    model: nn.Module
    args: tuple
    kwargs: dict
    inputs: Tensor
    targets: Tensor | None
    batch: int
    labels: int | None

    @classmethod
    def of(cls, model: nn.Module, call: Pass, targets: Tensor | None, limit: int = MAX_SAMPLES) -> FirstSamples | None:
        """The first samples of a pass, at most `limit`; None if its first argument is no batch of at least two samples.

        Numbers in one dimension may be the features of one sample; integers are the numbers of items.
        """
        inputs = call.args[0] if call.args else next(tensors_in(call.kwargs), None)
        if not isinstance(inputs, Tensor) or not inputs.dim() or inputs.shape[0] < 2:
            return None
        if inputs.dim() == 1 and inputs.is_floating_point():
            return None
        batch, few = inputs.shape[0], min(limit, inputs.shape[0])
        for other in tensors_in((call.args[1:], call.kwargs)):
            if other is not inputs and batch in other.shape[1:] and other.shape != inputs.shape:
                return None  # e.g. the adjacency matrix of a graph, whose rows cannot be separated
        args, kwargs = cut((call.args, call.kwargs), batch, lambda t: t[:few].detach())
        first = args[0] if args else next(tensors_in(kwargs))
        labels = None if targets is None or not targets.dim() else targets.shape[0]
        own = targets[:few] if targets is not None and labels == batch else targets
        return cls(model, args, kwargs, first, own, batch, labels)

    def run(self, change: Callable[[Tensor], Tensor] | None = None, inputs: Tensor | None = None) -> Any:
        """Call the model. change: applied to every tensor with samples; inputs: in place of the first tensor."""
        args, kwargs = self.args, self.kwargs
        if inputs is not None:
            if not args:
                return self.model(**{**kwargs, next(iter(kwargs)): inputs})
            return self.model(inputs, *args[1:], **kwargs)
        if change is not None:
            args, kwargs = cut((args, kwargs), self.inputs.shape[0], change)
        return self.model(*args, **kwargs)

    def run_with(self, old: Tensor, new: Tensor) -> Any:
        """Call the model with another tensor in the place of one that it was given."""
        args, kwargs = swapped((self.args, self.kwargs), old, new)
        return self.model(*args, **kwargs)


def swapped(tree: Any, old: Tensor, new: Tensor) -> Any:
    """The tree with one tensor in the place of another, in nested tuples, lists and dicts."""
    if tree is old:
        return new
    if isinstance(tree, list | tuple) and type(tree) in (list, tuple):
        return type(tree)(swapped(item, old, new) for item in tree)
    if isinstance(tree, dict):
        return {key: swapped(item, old, new) for key, item in tree.items()}
    return tree


def cut(tree: Any, batch: int, change: Callable[[Tensor], Tensor]) -> Any:
    """Apply `change` to every tensor of `batch` rows in nested tuples, lists and dicts."""
    if isinstance(tree, Tensor):
        return change(tree) if tree.dim() and tree.shape[0] == batch else tree
    if isinstance(tree, list | tuple) and type(tree) in (list, tuple):
        return type(tree)(cut(item, batch, change) for item in tree)
    if isinstance(tree, dict):
        return {key: cut(item, batch, change) for key, item in tree.items()}
    return tree


def first_tensor(tree: Any) -> Tensor | None:
    """First tensor of the outputs of a model, detached; a single number, as a loss, where there is nothing else."""
    every = list(tensors_in(tree))
    found = next((one for one in every if one.dim()), every[0] if every else None)
    return None if found is None else found.detach()

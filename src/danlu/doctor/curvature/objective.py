"""The loss as a function of the weights: what is differentiated twice, and walked about in.

It is the mean of `loss_fn(model(inputs), targets)` over all samples of the batches. Flat vectors hold the trainable
parameters one after another, in the order of `model.named_parameters()`; tied weights stand in them once. The model is
left as it was found: forward passes work on copies of the buffers, random numbers come from a seed and leave the
generators where they were, weights are lent other values and given back, and nobody's `.grad` is touched.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from danlu.refuse import refusal

LossFunction = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Batch:
    """inputs: a tensor (N, ...), a tuple (model(*inputs)) or a dict (model(**inputs)) of such; count: N."""

    inputs: Any
    targets: Any
    count: int

    def rows(self, first: int, last: int) -> Batch:
        """Samples first to last - 1; tensors that hold no sample per row stay whole."""
        parts = (_each(v, lambda t: t[first:last] if t.ndim and len(t) == self.count else t) for v in self._parts())
        return Batch(*parts, count=min(last, self.count) - first)

    def pieces(self, most: int) -> list[Batch]:
        """Cut into as few parts of nearly equal length as hold at most `most` samples each."""
        cuts = -(-self.count // most)
        ends = [self.count * i // cuts for i in range(cuts + 1)]
        return [self.rows(a, b) for a, b in pairwise(ends)] if cuts > 1 else [self]

    def to(self, device: torch.device) -> Batch:
        return Batch(*(_each(v, lambda t: t.to(device)) for v in self._parts()), count=self.count)

    def _parts(self) -> tuple[Any, Any]:
        return self.inputs, self.targets


class Objective:
    """Mean loss of `model`, in the mode it is in, over the samples of `batches`.

    batches: pairs (inputs, targets), or one such pair of tensors; all of them are used at every evaluation.
    loss_fn: (outputs, targets) -> scalar, the mean over the samples of a batch.
    seed: of whatever the forward pass draws at random, so that every evaluation draws the same.
    Raises Refusal on a model without trainable parameters, on no batches and on a loss that is not a finite scalar.
    """

    def __init__(self, model: nn.Module, loss_fn: LossFunction, batches: Iterable[Any], *, seed: int = 0) -> None:
        self.model, self.loss_fn, self.seed = model, loss_fn, seed
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise refusal("model", "a module with trainable parameters", "none that requires a gradient")
        first = next(iter(self.parameters.values()))
        self.device, self.dtype = first.device, first.dtype
        self.size = sum(p.numel() for p in self.parameters.values())
        if isinstance(batches, tuple) and len(batches) == 2 and isinstance(batches[0], Tensor):
            batches = [batches]
        self.batches = [_batch(given, number).to(self.device) for number, given in enumerate(batches)]
        self.count = sum(batch.count for batch in self.batches)
        if not self.count:
            raise refusal(
                "batches", "at least one pair (inputs, targets)", "none", do="a generator is used up by a loop"
            )

    @property
    def mixes_samples(self) -> bool:
        """Whether a sample's output depends on the others of its batch, so that a batch must not be cut."""
        norms = (m for m in self.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
        return any(norm.training or norm.running_mean is None for norm in norms)

    def loss(self, batch: Batch) -> Tensor:
        """Scalar mean loss of a batch, with its graph where gradients are enabled."""
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        inputs = batch.inputs
        args, kwargs = ((), inputs) if isinstance(inputs, Mapping) else (inputs, {})
        with self._surroundings():
            outputs = functional_call(self.model, buffers, args, dict(kwargs))
            loss = self.loss_fn(outputs, batch.targets)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise refusal("loss_fn", "the mean over a batch, one number", got, do="use reduction='mean'")
        return loss.reshape(())

    def value(self, at: Tensor | None = None) -> float:
        """The mean loss at the flat weights `at`, or where the model stands; may be nan or inf."""
        with torch.no_grad(), self.lent(at):
            return sum(self.loss(batch).item() * batch.count for batch in self.batches) / self.count

    @contextmanager
    def lent(self, at: Tensor | None) -> Iterator[None]:
        """The model with other weights for a while. Its own tensors are put aside, not written to: exact, and kept
        graphs stay valid."""
        own = {name: p.data for name, p in self.parameters.items()}
        try:
            if at is not None:
                for parameter, value in zip(self.parameters.values(), self.split(at)):
                    parameter.data = value.to(parameter)
            yield
        finally:
            for name, parameter in self.parameters.items():
                parameter.data = own[name]

    def weights(self) -> Tensor:
        """A flat copy (P,) of the trainable parameters."""
        return self.flat(p.detach() for p in self.parameters.values())

    def flat(self, tensors: Iterable[Tensor]) -> Tensor:
        """One vector (P,) of tensors shaped as the parameters."""
        return torch.cat([t.to(self.device, self.dtype).reshape(-1) for t in tensors])

    def split(self, vector: Tensor) -> list[Tensor]:
        """Views of a flat vector (P,) in the parameters' shapes."""
        shapes = [p.shape for p in self.parameters.values()]
        return [part.view(shape) for part, shape in zip(vector.split([s.numel() for s in shapes]), shapes)]

    def named(self, vector: Tensor) -> dict[str, Tensor]:
        """Parameter name -> its part of a flat vector (P,)."""
        return dict(zip(self.parameters, self.split(vector)))

    @contextmanager
    def _surroundings(self) -> Iterator[None]:
        """Seeded random numbers, and only kernels that can be differentiated twice."""
        with ExitStack() as stack:
            cuda = self.device.type == "cuda"
            stack.enter_context(torch.random.fork_rng([self.device] if cuda else []))
            torch.default_generator.manual_seed(self.seed)
            if cuda:
                with torch.cuda.device(self.device):
                    torch.cuda.manual_seed(self.seed)
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))  # the fused ones have no second derivative
            if "torch._dynamo" in sys.modules:  # nor has compiled code; without dynamo nothing is compiled
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            yield


def _batch(given: Any, number: int) -> Batch:
    if not isinstance(given, Sequence) or len(given) != 2:
        got = f"{type(given).__name__}{f' of {len(given)}' if isinstance(given, Sequence) else ''}"
        raise refusal(f"batches[{number}]", "a pair (inputs, targets)", got)
    inputs, targets = given
    if isinstance(inputs, list | Tensor):
        inputs = tuple(inputs) if isinstance(inputs, list) else (inputs,)
    tensors: list[Tensor] = []
    _each(inputs, tensors.append)
    if not tensors or not tensors[0].ndim:
        raise refusal(f"the inputs of batches[{number}]", "tensors (samples, ...)", type(given[0]).__name__)
    return Batch(inputs, targets, len(tensors[0]))


def _each(value: Any, do: Callable[[Tensor], Any]) -> Any:
    """`do` on every tensor of a tensor, tuple, list or dict, in the same arrangement."""
    if isinstance(value, Tensor):
        return do(value)
    if isinstance(value, Mapping):
        return {key: _each(part, do) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_each(part, do) for part in value)
    return value

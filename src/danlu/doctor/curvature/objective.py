"""Loss as a function of the weights, for second derivatives and evaluation at other weights.

It is the mean of `loss_fn(model(inputs), targets)` over all samples of the batches. Flat vectors concatenate the
trainable parameters in the order of `model.named_parameters()`; tied weights appear once. The model is not changed:
forward passes use copies of the buffers, random numbers come from a seed and the generators are restored, weights are
replaced only temporarily, and `.grad` is not touched.
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

from danlu.message import message
from danlu.refuse import NOTHING, refusal, shape_of

LossFunction = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Batch:
    """N samples. inputs: a tuple (model(*inputs)) or a dict (model(**inputs)) of tensors (N, ...); count: N."""

    inputs: Any
    targets: Any
    count: int

    def rows(self, first: int, last: int) -> Batch:
        """Select samples first to last - 1; tensors without a batch axis are kept."""
        parts = (
            _map_tensors(v, lambda t: t[first:last] if t.ndim and len(t) == self.count else t) for v in self._parts()
        )
        return Batch(*parts, count=min(last, self.count) - first)

    def pieces(self, max_samples: int) -> list[Batch]:
        """Split into the fewest batches of nearly equal size with at most `max_samples` samples each."""
        cuts = -(-self.count // max_samples)
        ends = [self.count * i // cuts for i in range(cuts + 1)]
        return [self.rows(a, b) for a, b in pairwise(ends)] if cuts > 1 else [self]

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`."""
        return Batch(*(_map_tensors(v, lambda t: t.to(device)) for v in self._parts()), count=self.count)

    def _parts(self) -> tuple[Any, Any]:
        return self.inputs, self.targets


class Objective:
    """Mean loss of `model`, in the mode it is in, over the samples of `batches`.

    batches: pairs (inputs, targets), or one such pair of tensors; all of them are used at every evaluation.
    loss_fn: (outputs, targets) -> scalar, the mean over the samples of a batch.
    seed: random seed of the forward pass (dropout), the same for every evaluation.
    Raises Refusal on a model without trainable parameters, on no batches and on a loss that is not a finite scalar.
    """

    def __init__(self, model: nn.Module, loss_fn: LossFunction, batches: Iterable[Any], *, seed: int = 0) -> None:
        self.model, self.loss_fn, self.seed = model, loss_fn, seed
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise refusal(
                "model",
                message("doctor.wanted.module_trainable_parameters", "a module with trainable parameters"),
                message("doctor.got.none_requires_gradient", "none that requires a gradient"),
            )
        first = next(iter(self.parameters.values()))
        self.device, self.dtype = first.device, first.dtype
        self.size = sum(p.numel() for p in self.parameters.values())
        if isinstance(batches, tuple) and len(batches) == 2 and isinstance(batches[0], Tensor):
            batches = [batches]
        self.batches = [_batch(given, number).to(self.device) for number, given in enumerate(batches)]
        self.count = sum(batch.count for batch in self.batches)
        if not self.count:
            raise refusal(
                "batches",
                message("doctor.wanted.least_pair_inputs_targets", "at least one pair (inputs, targets)"),
                NOTHING,
                do=message("doctor.do.generator_used_up_loop", "a generator is used up by a loop"),
            )

    @property
    def mixes_samples(self) -> bool:
        """True if outputs depend on the rest of the batch (batch norm), so that batches must not be split."""
        norms = (m for m in self.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
        return any(norm.training or norm.running_mean is None for norm in norms)

    def loss(self, batch: Batch) -> Tensor:
        """Return the scalar mean loss of a batch, with a graph if gradients are enabled."""
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        inputs = batch.inputs
        args, kwargs = ((), inputs) if isinstance(inputs, Mapping) else (inputs, {})
        with self._reproducible():
            outputs = functional_call(self.model, buffers, args, dict(kwargs))
            loss = self.loss_fn(outputs, batch.targets)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            got: object = type(loss).__name__
            if isinstance(loss, Tensor):
                got = shape_of(loss)
            raise refusal(
                "loss_fn",
                message("doctor.wanted.mean_over_batch_number", "the mean over a batch, one number"),
                got,
                do=message("doctor.do.use_reduction_mean", "use reduction='mean'"),
            )
        return loss.reshape(())

    def value(self, at: Tensor | None = None) -> float:
        """Return the mean loss at the flat weights `at`, by default the current ones; may be nan or inf."""
        with torch.no_grad(), self.with_weights(at):
            return sum(self.loss(batch).item() * batch.count for batch in self.batches) / self.count

    @contextmanager
    def with_weights(self, at: Tensor | None) -> Iterator[None]:
        """Replace the weights temporarily. Tensors are swapped, not written to, so that graphs stay valid."""
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
        """Return a flat copy (P,) of the trainable parameters."""
        return self.flat(p.detach() for p in self.parameters.values())

    def flat(self, tensors: Iterable[Tensor]) -> Tensor:
        """Concatenate tensors in the shapes of the parameters to one vector (P,)."""
        return torch.cat([t.to(self.device, self.dtype).reshape(-1) for t in tensors])

    def split(self, vector: Tensor) -> list[Tensor]:
        """Split a flat vector (P,) into views in the shapes of the parameters."""
        shapes = [p.shape for p in self.parameters.values()]
        return [part.view(shape) for part, shape in zip(vector.split([s.numel() for s in shapes]), shapes)]

    def named(self, vector: Tensor) -> dict[str, Tensor]:
        """Return a dict from parameter name to its part of a flat vector (P,)."""
        return dict(zip(self.parameters, self.split(vector)))

    @contextmanager
    def _reproducible(self) -> Iterator[None]:
        """Seed all random numbers, and use only kernels with second derivatives."""
        with ExitStack() as stack:
            cuda = self.device.type == "cuda"
            stack.enter_context(torch.random.fork_rng([self.device] if cuda else []))
            torch.default_generator.manual_seed(self.seed)
            if cuda:
                with torch.cuda.device(self.device):
                    torch.cuda.manual_seed(self.seed)
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))  # fused kernels have no second derivative
            if "torch._dynamo" in sys.modules:  # nor has compiled code
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            yield


def _batch(given: Any, number: int) -> Batch:
    if not isinstance(given, Sequence) or len(given) != 2:
        got = f"{type(given).__name__}{f' of {len(given)}' if isinstance(given, Sequence) else ''}"
        raise refusal(
            f"batches[{number}]", message("doctor.wanted.pair_inputs_targets", "a pair (inputs, targets)"), got
        )
    inputs, targets = given
    if isinstance(inputs, list | Tensor):
        inputs = tuple(inputs) if isinstance(inputs, list) else (inputs,)
    tensors: list[Tensor] = []
    _map_tensors(inputs, tensors.append)
    if not tensors or not tensors[0].ndim:
        raise refusal(
            f"the inputs of batches[{number}]",
            message("doctor.wanted.tensors_samples", "tensors (samples, ...)"),
            type(given[0]).__name__,
        )
    return Batch(inputs, targets, len(tensors[0]))


def _map_tensors(value: Any, function: Callable[[Tensor], Any]) -> Any:
    """Apply `function` to every tensor in a tensor, tuple, list or dict, keeping its structure."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: _map_tensors(part, function) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_map_tensors(part, function) for part in value)
    return value

"""Outputs of a sample that depend on the other samples of its batch.

The last sample is run alone and within the batch. Where the outputs differ, the first layer whose output differs is
named: a recurrent layer that takes the samples for time steps, or whatever follows a softmax over the batch or a view
that crosses samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from danlu.doctor.observation.calls import observe
from danlu.doctor.observation.watched_model import tensors_in
from danlu.doctor.probes.sample import FirstSamples, first_tensor

MIN_DIFFERENCE = 0.01  # mean difference relative to the deviation of the outputs

NamedValue = tuple[str, Any, str]  # name, value and place in the ledger


def mixing(sample: FirstSamples, base: Tensor, scale: float) -> Iterator[NamedValue]:
    """Yield probe.mixing, and probe.mixing_layer where samples are mixed."""
    if samples_are_columns(sample) and base.shape[0] == sample.labels:
        found = first_tensor(sample.run(inputs=sample.inputs[:, -1:]))
        if found is not None and found.shape == base[-1:].shape:
            yield "probe.mixing", float((found - base[-1:]).float().abs().mean()) / scale, ""
        return
    count = sample.inputs.shape[0]
    if not samples_are_rows(sample) or base.shape[0] != count:
        return
    within, alone = LayerOutputs(sample.model), LayerOutputs(sample.model)
    with within:
        sample.run()
    with alone:
        found = first_tensor(sample.run(change=lambda tensor: tensor[-1:]))
    if found is None or found.shape != base[-1:].shape:
        return
    largest = max([size_of(base), *(size_of(whole) for _, _, whole in within.seen)])
    difference = float((found - base[-1:]).float().abs().mean()) / max(scale, rounding(base) * largest)
    yield "probe.mixing", difference, ""
    if difference <= MIN_DIFFERENCE:
        return
    for (name, module, whole), (_, _, one) in zip(within.seen, alone.seen):
        if whole.shape[0] == count and one.shape == whole[-1:].shape:
            spread = float(whole.float().std(correction=0)) or 1.0
            if float((one - whole[-1:]).float().abs().mean()) / spread > MIN_DIFFERENCE:
                yield "probe.mixing_layer", type(module).__name__, name
                return


def rounding(tensor: Tensor) -> float:
    """Smallest deviation, in sizes of the numbers, beside which the errors of rounding do not count."""
    return 1000 * torch.finfo(tensor.dtype).eps


def size_of(tensor: Tensor) -> float:
    """Root mean square; 0 where it is not finite."""
    size = float(tensor.float().square().mean().sqrt())
    return size if math.isfinite(size) else 0.0


def samples_are_rows(sample: FirstSamples) -> bool:
    """Return whether dimension 0 of the inputs is that of the samples: each has one row of targets, or one vector."""
    if sample.inputs.dim() == 1 and reads_sequences(sample.model):
        return False  # the words of one sentence
    if sample.labels is not None:
        return sample.labels == sample.batch and sample.batch not in sample.inputs.shape[1:2]
    return sample.inputs.dim() in (2, 4) and sample.inputs.is_floating_point()


def samples_are_columns(sample: FirstSamples) -> bool:
    """Return whether dimension 1 of sequences is that of the samples: (time, batch), with a target for each sample."""
    alone = not any(True for _ in tensors_in((sample.args[1:], sample.kwargs)))
    shape = sample.inputs.shape
    columns = len(shape) > 1 and shape[1] == sample.labels and sample.batch != sample.labels
    return columns and alone and bool(sample.args) and reads_sequences(sample.model)


def reads_sequences(model: nn.Module) -> bool:
    """Return whether a part of the model is recurrent or called attention."""
    return any(
        isinstance(module, nn.RNNBase) or "attention" in type(module).__name__.lower() for module in model.modules()
    )


class LayerOutputs:
    """Outputs of the leaf modules in the order of their calls, collected while the context is active."""

    def __init__(self, model: nn.Module) -> None:
        self.seen: list[tuple[str, nn.Module, Tensor]] = []
        self._leaves = [(name, m) for name, m in model.named_modules() if not any(m.children())]
        self._handles: list[Any] = []

    def __enter__(self) -> LayerOutputs:
        self._handles = [observe(module, after=self._hook(name)) for name, module in self._leaves]
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, name: str) -> Any:
        def hook(module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
            found = first_tensor(output)
            if found is not None and found.dim() and found.is_floating_point():
                self.seen.append((name, module, found))

        return hook

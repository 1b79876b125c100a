"""Predictions of the next item that depend on the item they should predict: a missing or wrong causal mask."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from danlu.doctor.probes.mixing import Record
from danlu.doctor.probes.sample import Sample, first_tensor

MIN_LENGTH = 4  # items of a sequence


def future_effect(sample: Sample, base: Tensor, scale: float) -> Iterator[Record]:
    """Yield probe.future: change of the outputs before a position when the items from there on are replaced.

    Where the targets are not the next items but the items themselves, the name is probe.copies.
    """
    inputs = sample.inputs
    copies = repeats_inputs(sample)
    if not (copies or predicts_next(sample)) or base.shape[:2] != inputs.shape[:2]:
        return
    middle = inputs.shape[1] // 2
    changed = inputs.clone()
    changed[:, middle:] = inputs.roll(1, 0)[:, middle:]  # items of another sequence
    if bool((changed == inputs).all()):
        return
    found = first_tensor(sample.run(inputs=changed))
    if found is not None and found.shape == base.shape:
        name = "probe.copies" if copies else "probe.future"
        yield name, float((found - base)[:, :middle].float().abs().mean()) / scale, ""


def repeats_inputs(sample: Sample) -> bool:
    """Return whether the targets are the items of the inputs themselves, at the same positions."""
    inputs, targets = sample.inputs, sample.targets
    if targets is None or inputs.dim() != 2 or inputs.shape[1] < MIN_LENGTH or inputs.is_floating_point():
        return False
    if targets.is_floating_point() or targets.numel() < inputs.numel():
        return False
    return bool((targets.reshape(-1)[: inputs.numel()].reshape(inputs.shape) == inputs).float().mean() > 0.98)


def predicts_next(sample: Sample) -> bool:
    """Return whether the targets are the inputs, one item later: y[:, t] = x[:, t + 1]."""
    inputs, targets = sample.inputs, sample.targets
    if targets is None or inputs.dim() < 2 or inputs.shape[1] < MIN_LENGTH:
        return False
    rows, length = inputs.shape[:2]
    each = inputs[0, 0].numel()
    if targets.numel() < rows * length * each or targets.is_floating_point() != inputs.is_floating_point():
        return False
    wanted = targets.reshape(-1)[: rows * length * each].reshape(inputs.shape)
    same = (wanted[:, :-1] == inputs[:, 1:]).float().mean()
    return bool(same > 0.98) and not bool((wanted == inputs).float().mean() > 0.98)

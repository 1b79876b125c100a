"""Predictions of the next item that depend on the item they should predict: a missing or wrong causal mask.

The sequence may be the first tensor that the model is given or another, as the target sequence of a decoder.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from danlu.doctor.observation.watched_model import tensors_in
from danlu.doctor.probes.mixing import NamedValue
from danlu.doctor.probes.sample import FirstSamples, first_tensor

MIN_LENGTH = 4  # items of a sequence
MIN_EFFECT = 0.01  # of a sequence on the outputs at its own positions, relative to their deviation


def future_effect(sample: FirstSamples, base: Tensor, scale: float) -> Iterator[NamedValue]:
    """Yield probe.future: change of the outputs before a position when the items from there on are replaced.

    Where the targets are not the next items but the items themselves, the name is probe.copies.
    """
    given = [one for one in tensors_in((sample.args, sample.kwargs)) if one is not sample.inputs]
    for sequence in (sample.inputs, *given):
        # A model that returns its loss is given the targets, too.
        targets = [sample.targets] if sample.targets is not None else [one for one in given if one is not sequence]
        copies = sample.targets is not None and repeats(sequence, sample.targets)
        if not (copies or any(is_next(sequence, one) for one in targets)) or base.shape[:2] != sequence.shape[:2]:
            continue
        middle = sequence.shape[1] // 2
        changed = sequence.clone()
        changed[:, middle:] = sequence.roll(1, 0)[:, middle:]  # items of another sequence
        if bool((changed == sequence).all()):
            continue
        found = first_tensor(sample.run_with(sequence, changed))
        if found is None or found.shape != base.shape:
            continue
        before, after = (float(part.float().abs().mean()) / scale for part in halves(found - base, middle))
        if sequence is not sample.inputs and after <= MIN_EFFECT:
            continue  # targets, from which the model computes its loss
        yield "probe.copies" if copies else "probe.future", before, ""
        return


def halves(difference: Tensor, middle: int) -> tuple[Tensor, Tensor]:
    """Parts of the outputs before and from a position on."""
    return difference[:, :middle], difference[:, middle:]


def repeats(sequence: Tensor, targets: Tensor) -> bool:
    """Return whether the targets are the items of a sequence themselves, at the same positions."""
    if sequence.dim() != 2 or sequence.shape[1] < MIN_LENGTH or sequence.is_floating_point():
        return False
    if targets.is_floating_point() or targets.numel() < sequence.numel():
        return False
    return bool((targets.reshape(-1)[: sequence.numel()].reshape(sequence.shape) == sequence).float().mean() > 0.98)


def is_next(sequence: Tensor, targets: Tensor) -> bool:
    """Return whether the targets are the sequence, one item later: y[:, t] = x[:, t + 1]."""
    if sequence.dim() < 2 or sequence.shape[1] < MIN_LENGTH:
        return False
    rows, length = sequence.shape[:2]
    each = sequence[0, 0].numel()
    if targets.numel() < rows * length * each or targets.is_floating_point() != sequence.is_floating_point():
        return False
    wanted = targets.reshape(-1)[: rows * length * each].reshape(sequence.shape)
    same = (wanted[:, :-1] == sequence[:, 1:]).float().mean()
    return bool(same > 0.98) and not bool((wanted == sequence).float().mean() > 0.98)

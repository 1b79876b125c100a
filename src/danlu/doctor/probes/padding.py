"""Outputs of a sequence that depend on its padding: without the padding the outputs of the same sequence differ.

Padding is what the longest end of equal items is called where most sequences of the batch have one. A model that leaves
it out (by a mask, packing, or the step at the true length) has the same outputs for the sequence alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from danlu.doctor.probes.mixing import NamedValue, samples_are_rows
from danlu.doctor.probes.sample import FirstSamples, cut, first_tensor

MIN_LENGTH = 8  # items of a padded sequence
MIN_PADDING = 0.4  # of all items; blank margins of images that are read row by row are less
TINY = 1e-12


def padding_effect(sample: FirstSamples, base: Tensor) -> Iterator[NamedValue]:
    """Yield probe.padded, the fraction of the items that is padding, and probe.padding, the change without it.

    The change is relative to the differences between the sequences, which long padding may have removed.
    """
    inputs = sample.inputs
    summarised = base.dim() in (1, 2) and base.shape[0] == inputs.shape[0]
    if not summarised or inputs.dim() not in (2, 3) or inputs.shape[1] < MIN_LENGTH or not samples_are_rows(sample):
        return
    if inputs.dim() == 2 and inputs.is_floating_point():
        return  # columns of a table
    lengths = true_lengths(inputs)
    padded = 1 - float(lengths.float().mean()) / inputs.shape[1]
    shortest, length = int(lengths.argmin()), int(lengths.min())
    if padded < MIN_PADDING or length < 1:
        return
    yield "probe.padded", padded, ""
    whole, count = inputs.shape[1], inputs.shape[0]

    def trimmed(tensor: Tensor) -> Tensor:
        own = tensor[shortest : shortest + 1]
        return own[:, :length] if tensor.dim() > 1 and tensor.shape[1] == whole else own

    args, kwargs = cut((sample.args, sample.kwargs), count, trimmed)
    try:
        found = first_tensor(sample.model(*args, **kwargs))
    except Exception:  # a model for sequences of one length
        return
    if found is None or found.shape != base[:1].shape:
        return
    spread = float(base.float().std(0, correction=0).mean())
    difference = float((found - base[shortest : shortest + 1]).float().abs().mean())
    yield "probe.padding", difference / max(spread, TINY), ""


def true_lengths(inputs: Tensor) -> Tensor:
    """Lengths (N,) of sequences (N, T) or (N, T, F) without their common padding at the end."""
    last = inputs[:, -1]
    values, counts = last.unique(dim=0, return_counts=True)
    pad = values[counts.argmax()]
    if int(counts.max()) < 2 or 2 * int(counts.max()) < len(inputs):
        return torch.full((len(inputs),), inputs.shape[1])
    is_pad = inputs == pad
    while is_pad.dim() > 2:
        is_pad = is_pad.all(-1)
    return inputs.shape[1] - is_pad.flip(1).long().cumprod(1).sum(1).cpu()

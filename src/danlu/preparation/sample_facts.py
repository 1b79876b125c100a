"""Names of classes, columns and copied samples, recorded for the doctor before a training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from danlu.data.columns import ColumnEncoder
from danlu.doctor.ledger import Ledger
from danlu.doctor.static_checks import MAX_NAMED
from danlu.preparation.prepared import Prepared

MAX_NAMED_CLASSES = 1000  # classes; the doctor counts predictions of no more
MAX_VALUES = 1 << 26  # values of the training samples up to which copies are looked for


def record_sample_facts(ledger: Ledger, prepared: Prepared) -> None:
    """Add class.name, input.columns and input.copies to the ledger, as far as the data have them."""
    for number, name in enumerate(prepared.dataset.classes[:MAX_NAMED_CLASSES]):
        ledger.add("class.name", name, str(number))
    if prepared.signature.columns:
        ledger.add("input.columns", list(ColumnEncoder.from_dict(prepared.signature.columns).names))
    inputs, name_of = prepared.inputs, prepared.dataset.name_of
    if isinstance(inputs, Tensor) and prepared.objects is None and prepared.maps is None:
        train = prepared.split.train
        if found := [f"{name_of(a)} = {name_of(b)}" for a, b in copies(inputs, train)]:
            ledger.add("input.copies", found)


def copies(inputs: Tensor, index: Tensor, max_pairs: int = MAX_NAMED) -> list[tuple[int, int]]:
    """Find samples with equal inputs.

    inputs: of all samples, (N, ...). index: the samples to compare, int64 (n,). Returns up to `max_pairs` pairs of
    sample numbers, each a later sample with the first one equal to it; none where the samples are too large to compare.
    """
    if not inputs.numel() or len(index) * (inputs.numel() // len(inputs)) > MAX_VALUES:
        return []
    rows = inputs.flatten(1).index_select(0, index.to(inputs.device)).cpu().contiguous()
    raw = rows.view(torch.uint8).numpy()
    known = np.ascontiguousarray(raw).view(np.dtype((np.void, raw.shape[1])))[:, 0]
    _, first, group = np.unique(known, return_index=True, return_inverse=True)
    later = np.flatnonzero(first[group] != np.arange(len(known)))[:max_pairs].tolist()
    return [(int(index[first[group[i]]]), int(index[i])) for i in later]

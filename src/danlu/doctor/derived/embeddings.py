"""Outputs that a loss compares with one another, as in metric learning."""

from __future__ import annotations

from danlu.doctor.derived.progress import steps_taken
from danlu.doctor.ledger import Ledger

FALLEN, MAX_FALLEN_SPREAD = 1e-2, 1e-2  # spread of the embeddings relative to that at the start, and its max
MIN_PASSES = 1.5  # training passes per step, from which on the loss compares samples with one another


def have_equal_embeddings(ledger: Ledger, layer: str) -> bool:
    """Return whether outputs that a loss without targets compares have lost nearly all of their first spread.

    A single output is no embedding: that of a critic may move far from zero, where its spread is small beside its size.
    """
    if ledger.last("output.count", default=1) < 2:
        return False
    steps, passes = steps_taken(ledger), ledger.last("run.forwards", "train", 0)
    if ledger.has("target.kind") or not steps or passes < MIN_PASSES * steps:
        return False
    spreads = ledger.values("activation.spread", layer)
    return len(spreads) > 2 and max(spreads[-2:]) < min(FALLEN * spreads[0], MAX_FALLEN_SPREAD)

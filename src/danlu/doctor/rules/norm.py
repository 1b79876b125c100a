"""Findings about normalisation layers. Each rule reads the ledger and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger


def small_batch(ledger: Ledger) -> Iterable[Finding]:
    """Batch normalisation over so few samples that its statistics are noise (Ioffe 2017; Wu and He 2018)."""
    batches = ledger.facts("norm.batch")
    kinds = ledger.facts("norm.kind")
    small = {name: n for name, n in batches.items() if n <= 4 and "Batch" in str(kinds.get(name, "Batch"))}
    if small:
        layer, batch = min(small.items(), key=lambda pair: pair[1])
        values = ledger.facts("norm.values").get(layer, batch)
        severity = "warning" if batch <= 3 else "note"
        facts = {"batch": batch, "values": values, "layers": len(small)}
        yield Finding("norm.small_batch", severity, 0.85 if batch <= 3 else 0.5, layer, facts)


def train_eval_gap(ledger: Ledger) -> Iterable[Finding]:
    """The same batch, far worse in eval mode: the running statistics are not those of the batches."""
    train, eval_ = ledger.values("mode.loss_train"), ledger.values("mode.loss_eval")
    pairs = [(a, b) for a, b in zip(train, eval_) if math.isfinite(a) and math.isfinite(b)]
    shifts = ledger.facts("norm.mean_shift")
    if any(ledger.facts("norm.running_nonfinite").values()):
        facts = {"train": train[-1] if train else 0.0, "eval": eval_[-1] if eval_ else 0.0, "shift": float("inf")}
        yield Finding("norm.train_eval_gap", "error", 0.95, "", facts | {"momentum": 0.0})
        return
    if len(pairs) < 2 or not shifts:
        return
    worse = [b > 1.3 * a + 0.1 for a, b in pairs[-4:]]
    layer, shift = max(shifts.items(), key=lambda pair: pair[1])
    momentum = ledger.facts("norm.momentum").get(layer, 0.1)
    facts = {"train": pairs[-1][0], "eval": pairs[-1][1], "shift": shift, "momentum": momentum}
    if shift > 0.3 and sum(worse) >= 0.5 * len(worse):
        yield Finding("norm.train_eval_gap", "error", 0.85, layer, facts)
    elif 0 < momentum < 0.005 and shift > 0.3:
        yield Finding("norm.train_eval_gap", "warning", 0.7, layer, facts)


RULES: dict[str, Callable[[Ledger], Iterable[Finding]]] = {
    "norm.small_batch": small_batch,
    "norm.train_eval_gap": train_eval_gap,
}

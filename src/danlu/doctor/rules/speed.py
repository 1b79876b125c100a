"""Findings about speed and memory. Each rule reads the ledger and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from statistics import median

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.rules.progress import epoch_samples

MEGABYTE = 2**20


def input_bound(ledger: Ledger) -> Iterable[Finding]:
    """The step waits for data more than half of the time."""
    waits, steps = ledger.values("time.wait")[3:], ledger.values("time.step")[3:]
    if len(waits) < 5 or len(steps) < 5:
        return
    wait, step = median(waits), median(steps)
    share = wait / max(step, 1e-12)
    if share > 0.4 and wait > 0.5e-3:
        facts = {"share": share, "wait": 1000 * wait, "step": 1000 * step}
        yield Finding("speed.input_bound", "warning", min(0.95, 0.6 + share / 2), "", facts)


def memory_growth(ledger: Ledger) -> Iterable[Finding]:
    """Memory that rises step after step."""
    for name in ("memory.device", "memory.process_step", "memory.process"):
        values = ledger.values(name)
        late = values[len(values) // 4 :]  # the first steps fill caches
        if len(late) < 4:
            continue
        grown, lately = late[-1] - late[0], late[-1] - late[len(late) // 2]
        pace = grown / (len(late) - 1)
        # What leaks grows on at its pace; caches and allocators that settle grow in jumps, less and less.
        steady = sum(b - a > 0.3 * pace for a, b in pairwise(late)) > 0.6 * (len(late) - 1)
        if steady and grown > 24 * MEGABYTE and grown > 0.05 * late[0] and lately > 0.35 * grown:
            facts = {"from": late[0] / MEGABYTE, "to": late[-1] / MEGABYTE, "readings": len(late)}
            yield Finding("speed.memory_growth", "warning", 0.8, name.partition(".")[2], facts)
            return


def device_idle(ledger: Ledger) -> Iterable[Finding]:
    """Steps so short, for so few samples, that calling the operations costs more than computing them."""
    steps, sizes = ledger.values("time.step")[3:], ledger.values("batch.size")
    if len(steps) < 20 or not sizes:
        return
    step, size = median(steps), max(sizes)
    calls, shapes = ledger.facts("layer.calls"), ledger.facts("layer.input_shape")
    single = [layer for layer, count in calls.items() if count == size and (shapes.get(layer) or [0])[0] == 1]
    if size >= 8 and 2 * len(single) > len(calls):
        facts = {"step": 1000 * step, "batch": 1, "rate": size / max(step, 1e-9)}
        yield Finding("speed.device_idle", "warning", 0.9, single[0], facts)
        return
    if size <= 4 and epoch_samples(ledger) >= 200 and not ledger.facts("norm.batch"):
        facts = {"step": 1000 * step, "batch": size, "rate": size / max(step, 1e-9)}
        yield Finding("speed.device_idle", "note", 0.5, "", facts)


RULES: dict[str, Callable[[Ledger], Iterable[Finding]]] = {
    "speed.input_bound": input_bound,
    "speed.device_idle": device_idle,
    "speed.memory_growth": memory_growth,
}

"""Findings about speed and memory. Each rule reads the ledger and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from statistics import median

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import Phrase
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
    """Memory that rises step after step, and does not come to rest."""
    for name, least in (("memory.device", 4), ("memory.process_step", 5), ("memory.process", 6)):
        steps, sizes = _once_warm(ledger, name)
        if len(steps) < least or not leaks(steps, sizes):
            continue
        facts = {"from": sizes[0] / MEGABYTE, "to": sizes[-1] / MEGABYTE, "readings": len(sizes)}
        yield Finding("speed.memory_growth", "warning", 0.8, Phrase(name.partition(".")[2]), facts)
        return


def _once_warm(ledger: Ledger, name: str) -> tuple[list[int], list[int]]:
    """Readings without the first quarter, and without the first epoch unless it was all of the run: caches fill."""
    steps, sizes = ledger.series(name)
    first_epoch = 0
    if name.endswith("_step"):
        ends = ledger.values("run.steps")
        first_epoch = sum(not ends or step < ends[0] for step in steps)
        first_epoch = 0 if ledger.has("run.finished") and len(ends) <= 1 else first_epoch
    warm = max(len(steps) // 4, first_epoch)
    return steps[warm:], sizes[warm:]


def leaks(steps: list[int], sizes: list[int]) -> bool:
    """Whether memory grows as it does from a leak: as fast in the second half of the readings as in the first, with
    hardly a reading that does not rise. Caches and allocators grow too, in jumps or less and less."""
    grown, span, middle = sizes[-1] - sizes[0], steps[-1] - steps[0], len(sizes) // 2
    if span <= 0 or grown <= 24 * MEGABYTE or grown <= 0.05 * sizes[0]:
        return False
    early = (sizes[middle] - sizes[0]) / (steps[middle] - steps[0])
    late = (sizes[-1] - sizes[middle]) / (steps[-1] - steps[middle])
    rises = sum(b - a > 0.3 * grown / (len(sizes) - 1) for a, b in pairwise(sizes))
    return late > 0.8 * early and rises > 0.75 * (len(sizes) - 1)


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

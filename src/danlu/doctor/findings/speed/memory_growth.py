"""Finding speed.memory_growth: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from danlu.doctor.drawings.over_time import memory
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.places import MEMORY

MEGABYTE = 2**20


def memory_growth(ledger: Ledger) -> Iterable[Finding]:
    """Memory that grows step after step without levelling off."""
    for name, least in (("memory.device", 4), ("memory.process_step", 5), ("memory.process", 6)):
        steps, sizes = _after_warmup(ledger, name)
        if len(steps) < least or not leaks(steps, sizes):
            continue
        facts = {"from": sizes[0] / MEGABYTE, "to": sizes[-1] / MEGABYTE, "readings": len(sizes), "series": name}
        yield Finding("speed.memory_growth", "warning", 0.8, MEMORY[name], facts)
        return


def _after_warmup(ledger: Ledger, name: str) -> tuple[list[int], list[int]]:
    """Readings without the first quarter and without the first epoch (if there are others), in which caches fill."""
    steps, sizes = ledger.series(name)
    first_epoch = 0
    if name.endswith("_step"):
        ends = ledger.values("run.steps")
        first_epoch = sum(not ends or step < ends[0] for step in steps)
        first_epoch = 0 if ledger.has("run.finished") and len(ends) <= 1 else first_epoch
    warm = max(len(steps) // 4, first_epoch)
    return steps[warm:], sizes[warm:]


def leaks(steps: list[int], sizes: list[int]) -> bool:
    """Return whether memory grows as by a leak: steadily, and in the second half as fast as in the first.

    Caches and allocators grow in jumps, or less and less.
    """
    grown, span, middle = sizes[-1] - sizes[0], steps[-1] - steps[0], len(sizes) // 2
    if span <= 0 or grown <= 24 * MEGABYTE or grown <= 0.05 * sizes[0]:
        return False
    early = (sizes[middle] - sizes[0]) / (steps[middle] - steps[0])
    late = (sizes[-1] - sizes[middle]) / (steps[-1] - steps[middle])
    rises = sum(b - a > 0.3 * grown / (len(sizes) - 1) for a, b in pairwise(sizes))
    return late > 0.8 * early and rises > 0.75 * (len(sizes) - 1)


SPEC = FindingSpec(
    code="speed.memory_growth",
    order=590,
    only_cost=True,
    severities=("warning",),
    rule=memory_growth,
    words=Words(
        title="Memory grows step after step",
        cause=(
            "The memory of the {where} grew from {from} to {to} MiB over {readings} readings and did not fall again."
        ),
        fix="Store numbers, not tensors with their graph, and empty lists at the end of an epoch.",
        snippet=("total += loss.item()\nkept.append(outputs.detach().cpu())"),
    ),
    charts=(memory,),
    needs=("memory.process",),
)

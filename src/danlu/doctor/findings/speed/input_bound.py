"""Finding speed.input_bound: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from danlu.doctor.derived.progress import steps_taken
from danlu.doctor.drawings.over_time import pair
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MIN_WAIT = 4e-3  # s per step; callbacks and logging of a trainer alone take up to a few milliseconds
MIN_SECONDS = 10.0  # of waiting in the whole run; less is not worth a change and may be noise of a busy machine


def input_bound(ledger: Ledger) -> Iterable[Finding]:
    """The step waits for data more than half of the time."""
    waits, steps = ledger.values("time.wait")[3:], ledger.values("time.step")[3:]
    if len(waits) < 5 or len(steps) < 5:
        return
    wait, step = median(waits), median(steps)
    fraction = wait / max(step, 1e-12)
    if fraction > 0.4 and wait > 0.5e-3:
        facts = {"fraction": fraction, "wait": 1000 * wait, "step": 1000 * step}
        serious = wait > MIN_WAIT and wait * steps_taken(ledger) > MIN_SECONDS
        severity = "warning" if serious else "note"
        yield Finding("speed.input_bound", severity, min(0.95, 0.6 + fraction / 2), "", facts)


SPEC = FindingSpec(
    code="speed.input_bound",
    order=570,
    only_cost=True,
    severities=(
        "warning",
        "note",
    ),
    rule=input_bound,
    words=Words(
        title="The step waits for data",
        cause=(
            "Of the {step} ms of a step, {wait} ms ({fraction:%}) pass before the model is called: it waits "
            "for the next batch."
        ),
        fix=(
            "Load with worker processes; decode and resize once and keep the result (danlu: --data.cache "
            "FOLDER), or keep small data in memory; move .item() and prints out of the step."
        ),
        snippet=(
            "loader = torch.utils.data.DataLoader(\n"
            "    dataset, batch_size=64, shuffle=True, num_workers=2, persistent_workers=True, pin_memory=True\n"
            ")"
        ),
    ),
    charts=(
        pair(
            message("doctor.chart.time_of_each_step", "Time of each step"),
            message("doctor.chart.milliseconds", "milliseconds"),
            ("time.step", "", message("doctor.chart.whole_step", "whole step")),
            ("time.wait", "", message("doctor.chart.waiting_for_data", "waiting for data")),
            times=1000.0,
        ),
    ),
    needs=("time.wait",),
)

"""Finding speed.device_idle: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from danlu.doctor.derived.progress import epoch_samples
from danlu.doctor.drawings.over_time import series
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message


def device_idle(ledger: Ledger) -> Iterable[Finding]:
    """Steps so short, for so few samples, that launching the operations costs more than computing them."""
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
    if not ledger.has("input.shape") or ledger.last("input.shape", default=[0])[0] > size:
        return  # samples of other passes of the step, or of no model
    if size <= 4 and epoch_samples(ledger) >= 200 and not ledger.facts("norm.batch"):
        facts = {"step": 1000 * step, "batch": size, "rate": size / max(step, 1e-9)}
        yield Finding("speed.device_idle", "note", 0.5, "", facts)


SPEC = FindingSpec(
    code="speed.device_idle",
    order=580,
    only_cost=True,
    severities=(
        "warning",
        "note",
    ),
    rule=device_idle,
    words=Words(
        title="Batches of {batch} waste time",
        cause=(
            "A step takes {step} ms and processes {rate} samples per second. With so few samples, starting "
            "the operations takes longer than computing them."
        ),
        fix=(
            "Use larger batches and scale the learning rate with them, read values back once per epoch, or "
            "compile the model with torch.compile."
        ),
        snippet="loader = torch.utils.data.DataLoader(dataset, batch_size=64, shuffle=True)",
    ),
    charts=(
        series(
            message("doctor.chart.time_of_each_step", "Time of each step"),
            message("doctor.chart.milliseconds", "milliseconds"),
            "time.step",
            times=1000.0,
        ),
    ),
    needs=("time.step",),
)

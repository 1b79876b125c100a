"""Finding model.anchor_coverage: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.applies import detects
from danlu.doctor.drawings.counts import coverage
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger


def anchor_coverage(ledger: Ledger) -> Iterable[Finding]:
    """Objects without an anchor of IoU 0.5 or more: they are matched by force or not at all (Ren et al. 2015, 3.1.2)."""
    covered, edges = ledger.last("anchor.covered"), ledger.last("anchor.edges", default=[])
    fractions, counts = ledger.last("anchor.coverage", default=[]), ledger.last("anchor.objects", default=[])
    if covered is None:
        return
    bars = list(zip(edges, edges[1:], fractions, counts))
    enough = [bar for bar in bars if bar[3] > 0.02 * sum(counts)] or bars
    low, high, least, _ = min(enough, key=lambda bar: bar[2] if bar[2] >= 0 else 1.0, default=(0, 0, 1.0, 0))
    facts = {"covered": covered, "missed": 1 - covered, "low": low, "high": high, "least": least, "threshold": 0.7}
    if covered < 0.7:
        yield Finding("model.anchor_coverage", "warning", 0.9 if covered < 0.5 else 0.8, "", facts)
    elif covered < 0.85:
        yield Finding("model.anchor_coverage", "note", 0.7, "", facts)


SPEC = FindingSpec(
    code="model.anchor_coverage",
    order=620,
    severities=(
        "warning",
        "note",
    ),
    rule=anchor_coverage,
    words=Words(
        title="Many objects have no matching anchor",
        cause=(
            "Only {covered:%} of the objects have an anchor with an IoU of 0.5 or more; of the objects from "
            "{low} to {high} pixels it is {least:%}. The others are learnt late or never, because no anchor "
            "is matched to them."
        ),
        fix=(
            "Train at an image size at which objects match the anchors (--size), or with a detector without "
            "anchors: --model yolo-nano."
        ),
    ),
    charts=(coverage,),
    needs=("object.count",),
    concerns=detects,
)

"""Finding data.bad_boxes: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.applies import detects
from danlu.doctor.drawings.counts import box_faults
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger

INVALID = ("reversed", "empty", "outside the image", "not finite", "unknown class", "other")  # left out of training
MAX_EXAMPLES = 5


def bad_boxes(ledger: Ledger) -> Iterable[Finding]:
    """Invalid boxes (reversed, empty, outside), or boxes too small at the training resolution.

    Boxes that reach beyond their image, or are repeated, are listed but give only a note.
    """
    faults = {kind: n for kind, n in ledger.facts("object.faults").items() if n}
    total = ledger.last("object.count", default=0)
    if not faults or not total:
        return
    spoilt = sum(n for kind, n in faults.items() if kind in INVALID)
    tiny = faults.get("tiny", 0)
    examples = [place for kind in faults for place in ledger.last("object.examples", kind, [])][:MAX_EXAMPLES]
    listed = ", ".join(f"{n} {kind}" for kind, n in sorted(faults.items(), key=lambda item: -item[1]))
    facts = {"kinds": listed, "spoilt": spoilt, "tiny": tiny, "boxes": total, "fraction": (spoilt + tiny) / total}
    facts["examples"] = "; ".join(examples)
    grave = spoilt > max(2, 0.005 * total) or tiny > 0.05 * total
    yield Finding("data.bad_boxes", "warning" if grave else "note", 0.97, examples[0] if examples else "", facts)


SPEC = FindingSpec(
    code="data.bad_boxes",
    order=600,
    severities=(
        "warning",
        "note",
    ),
    rule=bad_boxes,
    words=Words(
        title="Invalid or tiny boxes",
        cause=(
            "Of the {boxes} annotated boxes, {kinds}. Boxes that are reversed, empty or outside their image "
            "are not used for training; boxes of a few pixels at the network's input hold too little "
            "information. For example: {examples}."
        ),
        fix=(
            "danlu data DATA lists each of these boxes by file and object: correct or remove them. For tiny "
            "boxes train at a larger size: --size 640."
        ),
    ),
    charts=(box_faults,),
    needs=("object.count",),
    concerns=detects,
)

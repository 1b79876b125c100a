"""Finding data.bad_rotations: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.applies import poses_checked
from danlu.doctor.drawings.poses import wrong_matrices
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger

KINDS = ("mirrored", "other")  # of matrices
MAX_FRACTION = 0.05  # of the poses; more are an error


def bad_rotations(ledger: Ledger) -> Iterable[Finding]:
    """Rotation matrices that mirror the object, or that are no rotations in another way."""
    found = {kind: n for kind in KINDS if (n := ledger.last("pose.matrices", kind, 0))}
    wrong, total = sum(found.values()), ledger.last("pose.count", default=0)
    if wrong and total:
        severity = "error" if wrong > MAX_FRACTION * total else "warning"
        examples = "; ".join(place for kind in found for place in ledger.last("pose.examples", kind, []))
        facts = {"wrong": wrong, "mirrored": found.get("mirrored", 0), "poses": total, "examples": examples}
        yield Finding("data.bad_rotations", severity, 0.95, "", facts)


SPEC = FindingSpec(
    code="data.bad_rotations",
    order=645,
    severities=("error", "warning"),
    rule=bad_rotations,
    words=Words(
        title="Rotation matrices that are no rotations",
        cause=(
            "{wrong} of {poses} rotation matrices are not orthogonal with determinant 1; {mirrored} of them mirror the "
            "object, which no motion does. Such poses are left out. For example: {examples}."
        ),
        fix=(
            "Look at the numbers of one of them: rows and columns may be mixed up, an axis negated (left-handed "
            "coordinates), or the nine numbers not those of the rotation."
        ),
    ),
    charts=(wrong_matrices,),
    needs=("pose.count",),
    concerns=poses_checked,
)

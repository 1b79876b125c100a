"""Finding data.quaternion_length: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.applies import poses_checked
from danlu.doctor.drawings.poses import wrong_matrices
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger

KIND = "unnormalised"  # kind of matrix: a scaled rotation, or an average of a rotation and the identity
MAX_FRACTION = 0.05  # of the poses; more are an error


def quaternion_length(ledger: Ledger) -> Iterable[Finding]:
    """Rotation matrices that are those of a quaternion without unit length."""
    wrong, total = ledger.last("pose.matrices", KIND, 0), ledger.last("pose.count", default=0)
    if wrong and total:
        severity = "error" if wrong > MAX_FRACTION * total else "warning"
        examples = "; ".join(ledger.last("pose.examples", KIND, []))
        facts = {"wrong": wrong, "poses": total, "fraction": wrong / total, "examples": examples}
        yield Finding("data.quaternion_length", severity, 0.95, "", facts)


SPEC = FindingSpec(
    code="data.quaternion_length",
    order=644,
    severities=("error", "warning"),
    rule=quaternion_length,
    words=Words(
        title="Rotations from quaternions without unit length",
        cause=(
            "{wrong} of {poses} rotation matrices are not orthogonal in the way that a quaternion of another length than 1 "
            "makes them. Only quaternions of length 1 are rotations; the others scale or shear the object. Such poses "
            "are left out. For example: {examples}."
        ),
        fix=(
            "Divide each quaternion by its length before it becomes a matrix: F.normalize(quaternion, dim=-1). A network that predicts quaternions needs "
            "the same: its four outputs have any length."
        ),
    ),
    charts=(wrong_matrices,),
    needs=("pose.count",),
    concerns=poses_checked,
)

"""Finding data.poses_apart: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.applies import poses_checked
from danlu.doctor.drawings.poses import boxes_apart
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger

MAX_FRACTION = 0.05  # of the poses compared; half or more are an error


def poses_apart(ledger: Ledger) -> Iterable[Finding]:
    """More than 5 % of the poses do not project onto the box of their object."""
    apart, compared = ledger.last("pose.apart", default=0), ledger.last("pose.compared", default=0)
    if compared and apart > max(1, MAX_FRACTION * compared):
        severity = "error" if apart > compared / 2 else "warning"
        examples = "; ".join(ledger.last("pose.examples", "apart", []))
        facts = {"apart": apart, "compared": compared, "fraction": apart / compared, "examples": examples}
        facts["inverse"] = ledger.last("pose.explanation") == "inverse"
        yield Finding("data.poses_apart", severity, 0.9, "", facts)


SPEC = FindingSpec(
    code="data.poses_apart",
    order=649,
    severities=("error", "warning"),
    rule=poses_apart,
    words=Words(
        title="Poses that do not project onto their objects",
        cause=(
            "{apart} of {compared} poses, {fraction:%}, put the model beside the box that the data have for it. For example: "
            "{examples}."
        ),
        fix=(
            "Draw a few of them with danlu data DATA. Where all are wrong, a pose may map the camera to the object instead of "
            "the object to the camera, the origin of the mesh may be another one, or the mesh another object's."
        ),
    ),
    charts=(boxes_apart,),
    needs=("pose.compared",),
    concerns=poses_checked,
)

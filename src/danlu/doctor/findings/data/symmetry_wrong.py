"""Finding data.symmetry_wrong: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.applies import poses_checked
from danlu.doctor.drawings.poses import wrong_symmetries
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger


def symmetry_wrong(ledger: Ledger) -> Iterable[Finding]:
    """A declared symmetry after which the mesh is not the same."""
    found = ledger.facts("pose.symmetry_wrong")
    if found:
        name = max(found, key=found.__getitem__)
        facts = {"names": ", ".join(found), "name": name, "misfit": found[name]}
        yield Finding("data.symmetry_wrong", "warning", 0.9, name, facts)


SPEC = FindingSpec(
    code="data.symmetry_wrong",
    order=650,
    severities=("warning",),
    rule=symmetry_wrong,
    words=Words(
        title="A declared symmetry is none of the mesh",
        cause=(
            "After a symmetry declared for {names} the mesh is not the same: the surface of {name} is {misfit:%} of its "
            "diameter away on average. Loss and metrics take poses as equal that do not look alike."
        ),
        fix="Correct the axis, the offset (its unit is that of the mesh) or the angle in models_info.json, or remove it.",
    ),
    charts=(wrong_symmetries,),
    needs=("pose.count",),
    concerns=poses_checked,
)

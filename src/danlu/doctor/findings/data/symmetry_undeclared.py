"""Finding data.symmetry_undeclared: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.applies import poses_checked
from danlu.doctor.drawings.poses import undeclared_symmetries
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger


def symmetry_undeclared(ledger: Ledger) -> Iterable[Finding]:
    """An object whose shape has a symmetry that is not declared."""
    found = ledger.facts("pose.symmetry_undeclared")
    if found:
        listed = ", ".join(f"{name} ({turns})" for name, turns in found.items())
        yield Finding("data.symmetry_undeclared", "warning", 0.7, next(iter(found)), {"listed": listed})


SPEC = FindingSpec(
    code="data.symmetry_undeclared",
    order=651,
    severities=("warning",),
    rule=symmetry_undeclared,
    words=Words(
        title="A symmetric shape without a declared symmetry",
        cause=(
            "The shape of these objects is the same after the turns in brackets, about axes through the centre of the mesh, and no "
            "symmetry is declared: {listed}. If the print on them does not tell the poses apart, the loss punishes right "
            "answers, and the rotation cannot be learnt."
        ),
        fix=(
            "Declare the symmetry in models_info.json (symmetries_discrete, symmetries_continuous). If a print tells the "
            "poses apart, nothing is to be done."
        ),
    ),
    charts=(undeclared_symmetries,),
    needs=("pose.count",),
    concerns=poses_checked,
)

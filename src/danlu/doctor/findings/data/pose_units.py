"""Finding data.pose_units: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.applies import poses_checked
from danlu.doctor.drawings.poses import deviations, units
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger

NAMES = {0.001: "mm", 0.01: "cm", 1.0: "m"}  # of metres per unit
# Factor of the translations after which they fit -> units of meshes and translations.
PAIRS = {one / other: (NAMES[other], NAMES[one]) for one in NAMES for other in NAMES if one != other}


def pose_units(ledger: Ledger) -> Iterable[Finding]:
    """Translations and meshes in different units."""
    found = ledger.facts("pose.unit")
    if found:
        meshes, far = (NAMES.get(found.get(key, 0.0), "?") for key in ("meshes", "translations"))
        factor = found.get("translations", 1.0) / found.get("meshes", 1.0)
    elif ledger.last("pose.explanation") == "unit":
        factor = ledger.last("pose.factor", default=1.0)
        meshes, far = next((pair for value, pair in PAIRS.items() if abs(value / factor - 1) < 0.01), ("?", "?"))
    else:
        return
    yield Finding("data.pose_units", "error", 0.95, "", {"meshes": meshes, "translations": far, "factor": factor})


SPEC = FindingSpec(
    code="data.pose_units",
    order=647,
    severities=("error",),
    rule=pose_units,
    words=Words(
        title="Translations and meshes have different units",
        cause=(
            "The translations must be multiplied by {factor:g} to fit the meshes, as where meshes are in {meshes} and "
            "translations in {translations}. In a mixture of units the objects are seen at a wrong size, and errors in "
            "metres or diameters mean nothing."
        ),
        fix="Bring both to one unit: BOP has millimetres, YCB-Video metres, DOPE centimetres.",
    ),
    charts=(units, deviations),
    explains=("data.poses_apart",),
    needs=("pose.count",),
    concerns=poses_checked,
)

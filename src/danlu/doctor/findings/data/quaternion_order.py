"""Finding data.quaternion_order: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.applies import poses_checked
from danlu.doctor.drawings.poses import deviations
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger

ORDERS = {"xyzw": "x, y, z, w", "wxyz": "w, x, y, z"}  # in which the quaternions were stored


def quaternion_order(ledger: Ledger) -> Iterable[Finding]:
    """Poses project onto their boxes only if the quaternions are taken in the other order."""
    order = ledger.last("pose.explanation")
    if order in ORDERS:
        other = next(words for key, words in ORDERS.items() if key != order)
        before, after = (ledger.last("pose.deviation", place, 0.0) for place in ("before", "after"))
        facts = {"order": ORDERS[order], "other": other, "before": before, "after": after}
        facts |= {"apart": ledger.last("pose.apart", default=0), "compared": ledger.last("pose.compared", default=0)}
        yield Finding("data.quaternion_order", "error", 0.95, "", facts)


SPEC = FindingSpec(
    code="data.quaternion_order",
    order=646,
    severities=("error",),
    rule=quaternion_order,
    words=Words(
        title="Quaternions in the order {order} were read as {other}",
        cause=(
            "{apart} of {compared} poses do not project onto their boxes (median deviation {before:%} of a side). With "
            "quaternions in the order {order} instead of {other} they do ({after:%}). A quaternion in the wrong order is a "
            "valid, but different rotation, so that nothing else shows it."
        ),
        fix=(
            "Change the order where the poses are written: scipy stores x, y, z, w unless scalar_first=True, PoseCNN and "
            "BOP tools w, x, y, z. quaternion[..., [3, 0, 1, 2]] makes w, x, y, z of x, y, z, w."
        ),
    ),
    charts=(deviations,),
    explains=("data.poses_apart",),
    needs=("pose.explanation",),
    concerns=poses_checked,
)

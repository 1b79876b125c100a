"""Finding data.wrong_intrinsics: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.applies import poses_checked
from danlu.doctor.drawings.poses import deviations
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger


def wrong_intrinsics(ledger: Ledger) -> Iterable[Finding]:
    """Poses project onto their boxes only with another camera."""
    camera = ledger.last("pose.camera")
    if ledger.last("pose.explanation") == "camera" and camera:
        fx, fy, cx, cy = camera
        before, after = (ledger.last("pose.deviation", place, 0.0) for place in ("before", "after"))
        facts = {"fx": fx, "fy": fy, "cx": cx, "cy": cy, "before": before, "after": after}
        yield Finding("data.wrong_intrinsics", "error", 0.9, "", facts)


SPEC = FindingSpec(
    code="data.wrong_intrinsics",
    order=648,
    severities=("error",),
    rule=wrong_intrinsics,
    words=Words(
        title="The intrinsics do not fit the poses",
        cause=(
            "The models at their poses project {before:%} of a side away from their boxes, and {after:%} with fx {fx:.4g}, "
            "fy {fy:.4g}, cx {cx:.4g}, cy {cy:.4g}. The network would learn positions that are wrong by the ratio of the "
            "focal lengths."
        ),
        fix=(
            "Take the intrinsics of the camera that made these images. If the images were resized, multiply fx, fy, cx "
            "and cy by the same factor."
        ),
    ),
    charts=(deviations,),
    explains=("data.poses_apart",),
    needs=("pose.explanation",),
    concerns=poses_checked,
)

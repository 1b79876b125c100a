"""Finding data.pixels_ignored: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.applies import labels_pixels
from danlu.doctor.drawings.counts import pixel_classes
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.places import TRAINING

MIN_NOTED, MIN_WARNED = 0.25, 0.5  # fractions of the pixels that are ignored


def pixels_ignored(ledger: Ledger) -> Iterable[Finding]:
    """A large fraction of the pixels has no class and is left out of loss and metrics."""
    ignored = ledger.last("pixel.ignored", default=0)
    total = sum(ledger.facts("pixel.count").values()) + ignored
    fraction = ignored / total if total else 0.0
    if fraction > MIN_NOTED:
        severity = "warning" if fraction > MIN_WARNED else "note"
        yield Finding("data.pixels_ignored", severity, 0.9, TRAINING, {"fraction": fraction})


SPEC = FindingSpec(
    code="data.pixels_ignored",
    order=640,
    severities=("warning", "note"),
    rule=pixels_ignored,
    words=Words(
        title="{fraction:%} of the pixels are ignored",
        cause=(
            "{fraction:%} of the pixels of the training masks have no class: the ignore value, or values outside the "
            "list of classes. They are left out of loss and metrics, so that nothing is learnt or measured there."
        ),
        fix=(
            "Check with danlu data DATA which values are read as ignored: --data.ignore -1 makes 255 a class like any "
            "other. Where the pixels are background, give them a class of their own."
        ),
    ),
    charts=(pixel_classes,),
    needs=("pixel.ignored",),
    concerns=labels_pixels,
)

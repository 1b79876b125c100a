"""Finding data.one_pixel_class: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.applies import labels_pixels
from danlu.doctor.drawings.counts import pixel_classes
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.places import class_place

MAX_FRACTION = 0.99  # of the labelled pixels in one class


def one_pixel_class(ledger: Ledger) -> Iterable[Finding]:
    """One class has nearly all labelled pixels; an error where no other class has any."""
    counts = ledger.facts("pixel.count")
    total = sum(counts.values())
    if not total:
        return
    name = max(counts, key=counts.__getitem__)
    fraction = counts[name] / total
    if fraction > MAX_FRACTION:
        facts = {"name": name, "fraction": fraction, "others": total - counts[name], "pixels": total}
        yield Finding("data.one_pixel_class", "error" if fraction == 1 else "warning", 0.9, class_place(name), facts)


SPEC = FindingSpec(
    code="data.one_pixel_class",
    order=630,
    severities=("error", "warning"),
    rule=one_pixel_class,
    words=Words(
        title="Nearly all pixels are of class {name}",
        cause=(
            "Class {name} has {fraction:%} of the {pixels} labelled pixels of the training set, all other classes "
            "together {others} pixels. A model that predicts {name} everywhere has nearly the smallest loss and the "
            "highest pixel accuracy."
        ),
        fix=(
            "Look at a few masks with danlu data DATA: values may have been mapped to the wrong class. If they are "
            "right, use a loss that counts overlap instead of pixels (--loss.name dice or lovasz), or weigh the "
            "classes (--loss.class_weights balanced), and judge by mIoU."
        ),
    ),
    charts=(pixel_classes,),
    explains=("fit.one_class", "data.imbalance"),
    needs=("pixel.count",),
    concerns=labels_pixels,
)

"""Finding data.targets_misplaced: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from danlu.doctor.derived.applies import has_dense_targets
from danlu.doctor.derived.dense import agreement_of, fit_of, symmetry_of
from danlu.doctor.derived.progress import steps_taken
from danlu.doctor.drawings.counts import counts
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MIN_FIT, MIN_RATIO = (
    0.25,
    2.0,
)  # correlation with the targets elsewhere, and its ratio to that with the targets as given
MAX_SYMMETRY = 0.5  # correlation of the targets with themselves, arranged otherwise
MIN_HALF = 0.15  # correlation of images and outputs with targets that are mirrored in half of the samples
MAX_DIFFERENCE = 0.3  # of the correlations with both arrangements, relative to the greater one
MIN_STEPS = 120
PLACES = {
    "mirrored": message("finding.data.targets_misplaced.mirrored", "mirrored left to right"),
    "upside_down": message("finding.data.targets_misplaced.upside_down", "turned upside down"),
    "transposed": message("finding.data.targets_misplaced.transposed", "with rows and columns exchanged"),
}


def targets_misplaced(ledger: Ledger) -> Iterable[Finding]:
    """Targets per pixel that fit their images better mirrored or transposed, or as well as they are."""
    for arrangement in PLACES:
        symmetry = symmetry_of(ledger, arrangement)
        if symmetry is None or symmetry.high > MAX_SYMMETRY:
            continue
        if is_elsewhere(ledger, arrangement):
            yield _found(ledger, arrangement, "error", 0.85)
            return
    if steps_taken(ledger) < MIN_STEPS:
        return
    for arrangement in PLACES:
        if is_by_half(ledger, arrangement):
            yield _found(ledger, arrangement, "warning", 0.75)
            return


def is_elsewhere(ledger: Ledger, arrangement: str) -> bool:
    """Return whether the images tell the targets in this arrangement, and hardly as they were given."""
    own, other = fit_of(ledger, "own"), fit_of(ledger, arrangement)
    return own is not None and other is not None and other.low > max(MIN_FIT, MIN_RATIO * own.high)


def is_by_half(ledger: Ledger, arrangement: str) -> bool:
    """Return whether images and trained outputs agree with the targets in both arrangements equally.

    The images alone do not suffice: of symmetric images with one-sided targets they may tell the side indirectly.
    """
    symmetry = symmetry_of(ledger, arrangement)
    if symmetry is None or symmetry.high > MAX_SYMMETRY:
        return False
    for measure in (fit_of, agreement_of):
        own, other = measure(ledger, "own"), measure(ledger, arrangement)
        if own is None or other is None or min(own.low, other.low) < max(MIN_HALF, symmetry.high):
            return False
        if abs(own.mean - other.mean) > MAX_DIFFERENCE * max(own.mean, other.mean):
            return False
    return True


def _found(ledger: Ledger, arrangement: str, severity: str, confidence: float) -> Finding:
    fits = {"own": fit_of(ledger, "own"), "other": fit_of(ledger, arrangement)}
    facts: dict[str, Any] = {name: fit.mean for name, fit in fits.items() if fit is not None}
    facts |= {"arranged": PLACES[arrangement], "arrangement": arrangement}
    return Finding("data.targets_misplaced", severity, confidence, "", facts)


SPEC = FindingSpec(
    code="data.targets_misplaced",
    order=47,
    severities=("error", "warning"),
    rule=targets_misplaced,
    words=Words(
        title="Targets do not lie where the objects of their images are",
        cause=(
            "The pixels of an image tell the targets of the same positions with a correlation of {own}, and the "
            "targets {arranged} with {other} (1: always; both without the mean over the batch). So images and targets "
            "were read or augmented differently."
        ),
        fix=(
            "Give image and target to one joint transform, so that a random flip or crop is drawn once for both, "
            "check the order of the axes (rows first), and look at ten images with their targets drawn on top."
        ),
        snippet=("if torch.rand(1) < 0.5:  # one draw for both\n    images, masks = images.flip(-1), masks.flip(-1)"),
    ),
    charts=(
        counts(
            message("doctor.chart.images_and_targets", "Agreement of images and targets"),
            message("doctor.chart.correlation", "correlation"),
            [
                ("own", message("doctor.chart.targets_as_given", "targets as given"), True),
                ("other", message("doctor.chart.targets_arranged", "targets arranged otherwise"), False),
            ],
        ),
    ),
    explains=("fit.*", "optim.*", "model.too_small", "data.labels_shuffled", "data.label_noise", "data.imbalance"),
    needs=("dense.fit",),
    concerns=has_dense_targets,
)

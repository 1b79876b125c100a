"""Finding data.axes_scrambled: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.drawings.counts import counts
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MAX_RATIO = 0.75  # distant rows are more similar than adjacent ones; about 1.5 in intact images


def axes_scrambled(ledger: Ledger) -> Iterable[Finding]:
    """Colour images of C channels in which rows C apart are more similar than adjacent rows."""
    ratio, shape = ledger.last("input.row_order"), ledger.last("input.shape", default=[])
    if ratio is not None and ratio < MAX_RATIO:
        facts = {"ratio": ratio, "usual": 1.5, "shape": shape, "channels": shape[1] if len(shape) > 1 else 3}
        yield Finding("data.axes_scrambled", "error", 0.93, "", facts)


SPEC = FindingSpec(
    code="data.axes_scrambled",
    order=45,
    severities=("error",),
    rule=axes_scrambled,
    words=Words(
        title="Images were reshaped where their axes should have been permuted",
        cause=(
            "The inputs have shape {shape}. Rows that lie {channels} apart differ only {ratio} times as "
            "much as adjacent rows, in images it is more than 1. So each channel holds values of all "
            "channels in turn, and neighbouring values are not neighbouring pixels."
        ),
        fix=(
            "Turn (N, H, W, C) into (N, C, H, W) by permuting the axes; reshape and view keep the order of the values."
        ),
        snippet="images = images.permute(0, 3, 1, 2)",
    ),
    charts=(
        counts(
            message("doctor.chart.rows_of_the_images", "Rows of the images"),
            message("doctor.chart.difference_of_far_rows", "difference of far rows / of adjacent rows"),
            [
                ("ratio", message("doctor.chart.measured", "measured"), True),
                ("usual", message("doctor.chart.usual_in_images", "usual in images"), False),
            ],
        ),
    ),
    explains=("fit.*", "optim.*", "model.*", "data.labels_shuffled"),
    needs=("input.shape",),
)

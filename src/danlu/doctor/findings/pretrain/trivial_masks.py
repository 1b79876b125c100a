"""Finding pretrain.trivial_masks: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.pretraining import is_pretraining
from danlu.doctor.drawings.pretraining import constant_patches
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger

MAX_CONSTANT = 0.3  # fraction of the patches


def trivial_masks(ledger: Ledger) -> Iterable[Finding]:
    """More than 30 % of the patches are constant, as the borders of MNIST: predicting them teaches nothing."""
    fractions = ledger.values("pretrain.constant", "train")
    if fractions and fractions[-1] > MAX_CONSTANT:
        facts = {"constant": fractions[-1], "method": ledger.last("pretrain.method"), "threshold": MAX_CONSTANT}
        yield Finding("pretrain.trivial_masks", "warning", 0.9, "", facts)


SPEC = FindingSpec(
    code="pretrain.trivial_masks",
    severities=("warning",),
    rule=trivial_masks,
    words=Words(
        title="Many hidden patches are empty",
        cause=(
            "{constant:%} of the patches have pixels that are all alike, such as the borders around drawn digits. "
            "Hiding them poses no task, and of normalised patches nothing is left."
        ),
        fix=(
            "Crop the images closer (--augment.area 0.2,0.6), use larger patches (--model.patch), or a method that "
            "compares views (--method simclr)."
        ),
    ),
    charts=(constant_patches,),
    needs=("pretrain.constant[train]",),
    concerns=is_pretraining,
)

"""Finding data.leak: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.input_statistics import are_tokens, is_number_of_item, leaked_by_chance, reevaluates_batches
from danlu.doctor.derived.progress import has_backward_passes, has_even_epochs
from danlu.doctor.drawings.counts import counts
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import VALIDATION

MIN_LEAKED = 4  # fewer identical samples may be chance: a blank image, a default row
MAX_COMMON, COMMON_TIMES = 0.1, 5.0  # fraction of sequences in both splits, and times those that repeat in training

MIN_SWITCHES, MIN_STEPS = 3, 8  # changes between train and eval mode, and steps in each of them
SPLIT = message(
    "finding.data.leak.split",
    "Remove the copies before splitting, and keep samples that belong together (of a patient, video or scene) in one split: "
    "danlu train DATA --split group:COLUMN, or sklearn.model_selection.GroupShuffleSplit.",
)
EVALUATE = message(
    "finding.data.leak.evaluate",
    "Leave backward() and optimizer.step() out of the evaluation, and run it under torch.no_grad().",
)


def leak(ledger: Ledger) -> Iterable[Finding]:
    """Validation samples that were trained on (Barz and Denzler 2020 found 3 % in CIFAR-10)."""
    evaluated, trained, switches = ledger.last("loop.steps_in_modes", default=[0, 0, 0])
    if switches >= MIN_SWITCHES and min(evaluated, trained) >= MIN_STEPS and evaluated < trained:
        facts = {"evaluated": evaluated, "steps": evaluated + trained, "fix": "no_grad", "do": EVALUATE}
        facts["seen"] = message(
            "finding.data.leak.steps",
            "The loop takes turns between train mode and eval mode, and {evaluated} of {steps} optimiser steps follow passes in eval "
            "mode: the validation samples are trained on, and their score measures memorisation.",
            evaluated=evaluated,
            steps=evaluated + trained,
        )
        yield Finding("data.leak", "error", 0.93, VALIDATION, facts)
        return
    if (
        reevaluates_batches(ledger)
        or is_number_of_item(ledger)
        or not has_backward_passes(ledger)
        or not has_even_epochs(ledger)
    ):
        return
    leaked, fraction = ledger.last("input.leaked", default=0), ledger.last("input.leaked_fraction", default=0.0)
    seen = ledger.last("input.held_out", default=ledger.last("input.hashed", "val", 0))
    if ledger.last("input.only_trained") and _says_validation(ledger):
        leaked = seen = ledger.last("input.hashed", "val", 0)
        fraction = 1.0
    if _are_common(ledger, fraction) or fraction <= leaked_by_chance(ledger):
        return
    if leaked >= MIN_LEAKED and fraction > 0.01:
        confidence = min(0.98, 0.8 + 0.02 * leaked)
        facts = {"leaked": int(leaked), "fraction": fraction, "of": seen, "fix": "", "do": SPLIT}
        facts["seen"] = message(
            "finding.data.leak.copies",
            "{leaked} of the {of} validation samples checked also occurred in training ({fraction:%}; only some of the training "
            "samples were checked). The validation score therefore partly measures memorisation.",
            leaked=int(leaked),
            of=seen,
            fraction=fraction,
        )
        yield Finding("data.leak", "error" if fraction > 0.05 else "warning", confidence, VALIDATION, facts)


def _are_common(ledger: Ledger, fraction: float) -> bool:
    """Return whether sequences of few tokens are equal by chance, so that as many are within training itself."""
    repeated = ledger.values("input.repeated", "train")
    return are_tokens(ledger) and fraction <= MAX_COMMON and max(repeated, default=0.0) * COMMON_TIMES >= fraction


def _says_validation(ledger: Ledger) -> bool:
    """Return whether the loop reports a metric of validation or test."""
    return any(word in metric.lower() for metric in ledger.wheres("user.metric") for word in ("val", "test"))


SPEC = FindingSpec(
    code="data.leak",
    order=10,
    severities=(
        "error",
        "warning",
    ),
    rule=leak,
    words=Words(
        title="Validation samples were trained on",
        cause="{seen}",
        fix="{do}",
        snippet={
            "": (
                "seen = {{row.tobytes() for row in x_train.numpy()}}\n"
                "new = torch.tensor([row.tobytes() not in seen for row in x_val.numpy()])\n"
                "x_val, y_val = x_val[new], y_val[new]"
            ),
            "no_grad": (
                "model.eval()\n"
                "with torch.no_grad():\n"
                "    val_loss = loss_fn(model(x_val), y_val).item()  # no backward(), no optimizer.step()"
            ),
        },
    ),
    before_training=Words(
        title="The same image is in training and in validation or test",
        cause=(
            "{pairs} pairs of (nearly) identical images are in different splits: they concern {twins} of {held} "
            "held-out samples ({fraction:%}). For example: {names}."
        ),
        fix=("Remove duplicates before splitting, or keep related samples in one split: --split group:COLUMN."),
    ),
    charts=(
        counts(
            message("doctor.chart.validation_samples_looked_at", "Validation samples looked at"),
            message("doctor.chart.samples", "samples"),
            [
                ("of", message("doctor.chart.looked_at", "looked at"), False),
                ("leaked", message("doctor.chart.also_trained_on", "also trained on"), True),
            ],
        ),
    ),
    explains=("fit.*",),
    needs=(
        "input.hashed[train]",
        "input.hashed[val]",
    ),
    alone=True,
)

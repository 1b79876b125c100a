"""Finding loop.wrong_mode: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.applies import has_modes
from danlu.doctor.derived.progress import has_backward_passes
from danlu.doctor.drawings.over_epochs import fractions_by_epoch
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import PHASES, TRAINING, VALIDATION

MAX_RARE = 0.1  # of the validations, which may run in train mode on purpose

IN_EVAL = message(
    "finding.loop.wrong_mode.in_eval",
    "Dropout is off, and batch normalisation uses its running statistics and does not update them.",
)
IN_TRAIN = message(
    "finding.loop.wrong_mode.in_train",
    "Dropout drops values at random, and batch normalisation uses the statistics of each validation batch and adds them to "
    "its running ones, so that the score is not that of the trained model.",
)


def wrong_mode(ledger: Ledger) -> Iterable[Finding]:
    """Training in eval mode or validation in train mode, where the model has layers for which this matters."""
    epochs, fractions = ledger.series("loop.train_in_eval")
    late = [e for e, fraction in zip(epochs, fractions) if fraction > 0.5]
    if late:
        problem = message("finding.loop.wrong_mode.train_in_eval", "Training runs in eval mode")
        facts = {
            "problem": problem,
            "epoch": late[0],
            "fraction": max(fractions),
            "call": "model.train()",
            "effect": IN_EVAL,
            "fix": "train",
            "part": TRAINING,
        }
        yield Finding("loop.wrong_mode", "error", 0.95 if late[0] > 1 else 0.9, PHASES["train"], facts)
    epochs, fractions = ledger.series("loop.val_in_train")
    wrong = [e for e, fraction in zip(epochs, fractions) if fraction > 0.5]
    if len(wrong) > MAX_RARE * len(epochs) and has_backward_passes(ledger):  # rarely: dropout that samples on purpose
        problem = message("finding.loop.wrong_mode.val_in_train", "Validation runs in train mode")
        facts = {
            "problem": problem,
            "epoch": wrong[0],
            "fraction": max(fractions),
            "call": "model.eval()",
            "effect": IN_TRAIN,
            "fix": "eval",
            "part": VALIDATION,
        }
        yield Finding("loop.wrong_mode", "error", 0.93, PHASES["val"], facts)


SPEC = FindingSpec(
    code="loop.wrong_mode",
    order=270,
    severities=("error",),
    rule=wrong_mode,
    words=Words(
        title="{problem}",
        cause="{problem} from epoch {epoch} on. {effect}",
        fix="Call {call} before each {part} loop.",
        snippet={"train": "model.train()", "eval": "model.eval()"},
    ),
    charts=(fractions_by_epoch,),
    explains=(
        "data.label_noise",
        "norm.train_eval_gap",
        "fit.*",
    ),
    needs=(
        "loop.train_in_eval",
        "loop.val_in_train",
    ),
    concerns=has_modes,
    alone=True,
)

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


def wrong_mode(ledger: Ledger) -> Iterable[Finding]:
    """Training in eval mode or validation in train mode, where the model has layers for which this matters."""
    epochs, shares = ledger.series("loop.train_in_eval")
    late = [e for e, share in zip(epochs, shares) if share > 0.5]
    if late:
        problem = message("finding.loop.wrong_mode.train_in_eval", "training runs in eval mode")
        facts = {
            "problem": problem,
            "epoch": late[0],
            "share": max(shares),
            "call": "model.train()",
            "part": TRAINING,
        }
        yield Finding("loop.wrong_mode", "error", 0.95 if late[0] > 1 else 0.9, PHASES["train"], facts)
    epochs, shares = ledger.series("loop.val_in_train")
    wrong = [e for e, share in zip(epochs, shares) if share > 0.5]
    if wrong and has_backward_passes(ledger):
        problem = message("finding.loop.wrong_mode.val_in_train", "validation runs in train mode")
        facts = {
            "problem": problem,
            "epoch": wrong[0],
            "share": max(shares),
            "call": "model.eval()",
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
        cause=(
            "Dropout and batch normalisation behave differently in train and eval mode. From epoch {epoch} on "
            "{problem}, "
            "which gives wrong results."
        ),
        fix="Call {call} before each {part} loop.",
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

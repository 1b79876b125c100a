"""Finding fit.regularisation_too_strong: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from danlu.doctor.derived.progress import chance_loss, chance_loss_of, last_loss, skills
from danlu.doctor.drawings.over_epochs import epoch_losses
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.message import Message


def regularisation_too_strong(ledger: Ledger) -> Iterable[Finding]:
    """Training is far worse than validation: noise that only training has keeps the model from fitting (Srivastava et
    al. 2014 keep half of the hidden units)."""
    skill, val_skill = (skills(ledger, "train") or [None])[-1], (skills(ledger, "val") or [None])[-1]
    if skill is None or len(ledger.values("loss.mean", "train")) < 4:
        return
    rate = max(ledger.facts("layer.dropout").values(), default=0.0)
    facts = {"skill": skill, "val_skill": val_skill, "dropout": rate, "threshold": 0.65}
    facts |= {"train": last_loss(ledger, "train"), "val": last_loss(ledger, "val"), "chance": chance_loss(ledger)}
    facts["fix"] = "dropout" if rate > 0.4 else ""
    facts["source"] = (
        message("finding.fit.regularisation_too_strong.dropout", "dropout of {rate:%}", rate=rate)
        if rate > 0.4
        else message("finding.fit.regularisation_too_strong.augmentation", "augmentation or other noise")
    )
    facts["seen"] = _seen(facts)
    if rate > 0.65 and skill < 0.05:
        yield Finding("fit.regularisation_too_strong", "error", 0.93, "", facts)
    elif val_skill is None:
        return
    elif rate > 0.65 and (skill < 0.5 or (skill < 0.9 and val_skill - skill > 0.08)):
        yield Finding("fit.regularisation_too_strong", "warning", 0.85, "", facts)
    elif val_skill > 0.1 and _gap(ledger, facts) > (0.02 if rate > 0.65 else 0.15):
        yield Finding("fit.regularisation_too_strong", "note", 0.65, "", facts)


def _gap(ledger: Ledger, facts: dict[str, Any]) -> float:
    """Skill of validation minus that of training, each by the spread of its own targets."""
    train, val = (1 - facts[phase] / (chance_loss_of(ledger, phase) or facts["chance"]) for phase in ("train", "val"))
    return val - train


def _seen(facts: dict[str, Any]) -> Message:
    """Losses with and, where there was a validation, without the noise."""
    if facts["val"] is None:
        text = "Training with {source} ends at a loss of {train}"
        return message(
            "finding.fit.regularisation_too_strong.training", text, source=facts["source"], train=facts["train"]
        )
    text = "Training with {source} ends at a loss of {train}, validation without it at {val}"
    values = {name: facts[name] for name in ("source", "train", "val")}
    return message("finding.fit.regularisation_too_strong.both", text, **values)


SPEC = FindingSpec(
    code="fit.regularisation_too_strong",
    order=540,
    severities=(
        "error",
        "warning",
        "note",
    ),
    rule=regularisation_too_strong,
    words=Words(
        title="Regularisation is too strong",
        cause="{seen}; chance level is {chance}. It keeps the model from fitting the training set.",
        fix="Lower the dropout to 0.2 - 0.5, or weaken the augmentation, until training fits.",
        snippet={
            "dropout": (
                "for m in model.modules():\n    if isinstance(m, (nn.Dropout, nn.Dropout2d)):\n        m.p = 0.2"
            )
        },
    ),
    charts=(epoch_losses,),
    explains=(
        "model.bad_init",
        "optim.lr_too_high",
        "optim.slow_convergence",
        "numerics.nonfinite",
        "gradient.exploding",
        "activation.*",
        "fit.underfitting",
        "fit.not_learning",
        "fit.one_class",
        "model.too_small",
    ),
    needs=(
        "loss.mean[val]",
        "loss.kind",
    ),
    alone=True,
)

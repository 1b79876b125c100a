"""Finding optim.lr_too_low: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from danlu.doctor.derived.progress import descent, skills
from danlu.doctor.derived.updates import initial_gains, is_clipped, top_lr, update_ratios_at_top_lr
from danlu.doctor.drawings.over_layers import updates_by_layer
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger


def lr_too_low(ledger: Ledger) -> Iterable[Finding]:
    """Updates far below a thousandth of the weights, the usual size (Karpathy 2015), and little progress."""
    ratios = update_ratios_at_top_lr(ledger)  # small during a warm-up
    skill, late = (skills(ledger, "train") or [None])[-1], descent(ledger)
    if len(ratios) < 5 or skill is None or late is None or is_clipped(ledger) or top_lr(ledger) == 0:
        return
    if max(initial_gains(ledger), default=1.0) > 2:
        return  # weights far too large: relative updates are small
    early = median(ratios[: max(5, len(ratios) // 2)])
    facts = {"update_ratio": early, "threshold": 5e-4, "lr": top_lr(ledger), "descent": late}
    facts["skill"] = max(skill, 0.0)
    soon = len(ledger.values("loss.mean", "train")) < 3 and not ledger.has(
        "run.finished"
    )  # the first epochs learn little
    if 0 < early < 5e-4 and skill < 0.5 and not (soon and early > 1e-4):
        yield Finding("optim.lr_too_low", "warning", 0.9 if early < 1e-4 else 0.75, "", facts)
    elif 0 < early < 5e-4 and skill < 0.9:
        yield Finding("optim.lr_too_low", "note", 0.6, "", facts)


SPEC = FindingSpec(
    code="optim.lr_too_low",
    order=320,
    severities=(
        "warning",
        "note",
    ),
    rule=lr_too_low,
    words=Words(
        title="The learning rate is too low",
        cause=(
            "At learning rate {lr} a step changes the weights by only {update_ratio:%} of their size (usual: about "
            "0.1 %), and so "
            "far only {skill:%} of the loss at chance level is explained. The direction is right, the steps are too "
            "short."
        ),
        fix=(
            "Multiply the learning rate by 10 and check again: for g in optimizer.param_groups: g['lr'] *= 10. Usual "
            "values: Adam 1e-3, SGD with momentum 0.05."
        ),
    ),
    charts=(updates_by_layer,),
    explains=(
        "model.too_small",
        "fit.*",
        "optim.slow_convergence",
        "optim.plateau_minimum",
        "optim.plateau_saddle",
    ),
    needs=(
        "update.ratio",
        "loss.mean[train]",
        "loss.kind",
    ),
    overcome_at=0.9,
    alone=True,
)

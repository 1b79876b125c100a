"""Finding pretrain.at_baseline: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.pretraining import by_epoch, is_pretraining
from danlu.doctor.drawings.pretraining import loss_and_baseline
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger

MIN_EPOCHS = 5  # before a loss at the baseline is a finding
MIN_GAIN = 0.02  # fraction of the baseline below it


def at_baseline(ledger: Ledger) -> Iterable[Finding]:
    """After five epochs the loss is that of an answer that ignores the image: (n - 1)/n of mae, log(2n - 1) of simclr."""
    losses, baselines = by_epoch(ledger, "pretrain.loss"), by_epoch(ledger, "pretrain.baseline")
    if min(len(losses), len(baselines)) < MIN_EPOCHS or baselines[-1] <= 0:
        return
    if ledger.last("pretrain.collapse_lowers_loss"):
        return
    gain = 1 - losses[-1] / baselines[-1]
    if gain < MIN_GAIN:
        facts = {
            "loss": losses[-1],
            "baseline": baselines[-1],
            "epochs": len(losses),
            "method": ledger.last("pretrain.method"),
        }
        yield Finding("pretrain.at_baseline", "warning", 0.8, "", facts)


SPEC = FindingSpec(
    code="pretrain.at_baseline",
    severities=("warning",),
    rule=at_baseline,
    words=Words(
        title="The pretraining has learnt nothing yet",
        cause=(
            "After {epochs} epochs the loss of {method} is {loss}; an answer that ignores the image reaches {baseline}."
        ),
        fix=(
            "Train for more epochs, or try three times the learning rate (--lr). If the loss stays there, check that "
            "the images are not all alike, that the patches are not too small and that not everything is hidden "
            "(--pretrain.mask)."
        ),
    ),
    charts=(loss_and_baseline,),
    needs=("pretrain.loss", "pretrain.baseline"),
    concerns=is_pretraining,
)

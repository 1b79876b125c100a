"""Finding pretrain.collapsed: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.pretraining import by_epoch, compares_views
from danlu.doctor.drawings.pretraining import spread_of_embeddings
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger

MIN_SPREAD = 0.1  # of random directions
MIN_EPOCHS = 2  # in a row


def collapsed(ledger: Ledger) -> Iterable[Finding]:
    """In the last two epochs the normalised embeddings spread less than a tenth as far as random directions."""
    if not compares_views(ledger):
        return
    spreads = by_epoch(ledger, "pretrain.std")[-MIN_EPOCHS:]
    if len(spreads) == MIN_EPOCHS and max(spreads) < MIN_SPREAD:
        facts = {"spread": spreads[-1], "method": ledger.last("pretrain.method"), "threshold": MIN_SPREAD}
        yield Finding("pretrain.collapsed", "error", 0.9, "", facts)


SPEC = FindingSpec(
    code="pretrain.collapsed",
    severities=("error",),
    rule=collapsed,
    words=Words(
        title="All images have nearly the same embedding",
        cause=(
            "The normalised embeddings of {method} spread {spread} times as far as random directions: the two views "
            "agree because all images have the same answer. The loss looks good and the features are worth little."
        ),
        fix=(
            "Lower the learning rate or raise the batch size. For byol raise --pretrain.momentum; for simsiam use "
            "momentum instead of adamw, with weight decay; simclr cannot collapse unless the temperature is far off."
        ),
    ),
    charts=(spread_of_embeddings,),
    explains=("pretrain.low_rank", "pretrain.at_baseline"),
    needs=("pretrain.std",),
    concerns=compares_views,
)

"""Finding pretrain.low_rank: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.pretraining import by_epoch, is_pretraining
from danlu.doctor.drawings.pretraining import rank_of_features
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger

MIN_RANK = 3.0  # directions
MIN_EPOCHS = 3


def low_rank(ledger: Ledger) -> Iterable[Finding]:
    """After three epochs the features vary along fewer than three directions (effective rank)."""
    ranks = by_epoch(ledger, "pretrain.rank")
    if len(ranks) >= MIN_EPOCHS and max(ranks[-2:]) < MIN_RANK:
        facts = {"rank": ranks[-1], "threshold": MIN_RANK, "epochs": len(ranks)}
        yield Finding("pretrain.low_rank", "warning", 0.7, "", facts)


SPEC = FindingSpec(
    code="pretrain.low_rank",
    severities=("warning",),
    rule=low_rank,
    words=Words(
        title="The features use few directions",
        cause=(
            "After {epochs} epochs the features of different images vary along {rank} directions only (effective "
            "rank). What they do not tell apart, a later training must learn anew."
        ),
        fix="Train longer, use stronger augmentation or a larger fraction of hidden patches, or lower the weight decay.",
    ),
    charts=(rank_of_features,),
    needs=("pretrain.rank",),
    concerns=is_pretraining,
)

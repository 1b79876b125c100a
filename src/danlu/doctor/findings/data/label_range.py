"""Finding data.label_range: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from danlu.doctor.derived.labels import labels_seen, mean_rows
from danlu.doctor.drawings.counts import label_span
from danlu.doctor.finding import Finding
from danlu.doctor.findings.model.loss_mismatch import is_regression
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MIN_LABELS_PER_CLASS = 5  # with fewer, the first class may be missing by chance


def label_range(ledger: Ledger) -> Iterable[Finding]:
    """Labels that do not fit the loss: outside 0..K-1, counted from 1, or -1 and 1 where 0 and 1 are expected."""
    kind, outputs = ledger.last("loss.kind", default=""), ledger.last("output.count", default=0)
    low, high = _extreme(ledger, "target.min", min), _extreme(ledger, "target.max", max)
    outside = sum(ledger.values("target.outside"))
    facts = {"low": low, "high": high, "outputs": outputs, "outside": int(outside)}
    if outside:
        yield Finding(
            "data.label_range",
            "error",
            0.97,
            "",
            facts | {"problem": message("finding.data.label_range.outside", "outside")},
        )
    elif (
        kind in ("bce", "bce_logits") and low is not None and (low < 0 or (high or 0) > 1) and not is_regression(ledger)
    ):
        yield Finding(
            "data.label_range", "error", 0.95, "", facts | {"problem": message("finding.data.label_range.sign", "sign")}
        )
    elif kind in ("cross_entropy", "nll"):
        shares = mean_rows(ledger.values("class.actual", "train"))
        held = mean_rows(ledger.values("class.actual", "val"))
        absent = len(shares) >= 3 and shares[0] == 0 and min(shares[1:]) > 0 and not (held and held[0])
        absent = absent and ledger.last("loss.option", "ignore_index") != 0
        if absent and labels_seen(ledger) >= MIN_LABELS_PER_CLASS * len(shares):
            yield Finding(
                "data.label_range",
                "error",
                0.9,
                "",
                facts | {"problem": message("finding.data.label_range.from_one", "from one")},
            )


def _extreme(ledger: Ledger, name: str, of: Callable[[list[float]], float]) -> float | None:
    values = [v for phase in ledger.wheres(name) for v in ledger.values(name, phase)]
    return of(values) if values else None


SPEC = FindingSpec(
    code="data.label_range",
    order=90,
    severities=("error",),
    rule=label_range,
    words=Words(
        title="Labels are not what the loss expects ({problem})",
        cause=(
            "Labels range from {low} to {high} and there are {outputs} outputs; {outside} batches have labels outside "
            "the valid range. "
            "Class labels must be integers 0 .. K-1, labels of a binary loss 0 or 1."
        ),
        fix=(
            "Map them: y = y - y.min() for labels counted from 1; y = (y + 1) / 2 for -1 and 1; and give the model as "
            "many outputs as there are classes."
        ),
    ),
    charts=(label_span,),
    explains=(
        "numerics.nonfinite",
        "fit.*",
        "optim.*",
    ),
    needs=(
        "loss.kind",
        "target.min[train]",
    ),
    alone=True,
)

"""Finding norm.train_eval_gap: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable

from danlu.doctor.derived.applies import has_norm
from danlu.doctor.drawings.over_layers import by_layer
from danlu.doctor.drawings.over_time import pair
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message


def train_eval_gap(ledger: Ledger) -> Iterable[Finding]:
    """The same batch is far worse in eval mode: running statistics differ from those of the batches."""
    train, eval_ = ledger.values("mode.loss_train"), ledger.values("mode.loss_eval")
    pairs = [(a, b) for a, b in zip(train, eval_) if math.isfinite(a) and math.isfinite(b)]
    shifts = ledger.facts("norm.mean_shift")
    if any(ledger.facts("norm.running_nonfinite").values()):
        facts = {"train": train[-1] if train else 0.0, "eval": eval_[-1] if eval_ else 0.0, "shift": float("inf")}
        yield Finding("norm.train_eval_gap", "error", 0.95, "", facts | {"momentum": 0.0})
        return
    if len(pairs) < 2 or not shifts:
        return
    worse = [b > 1.3 * a + 0.1 for a, b in pairs[-4:]]
    layer, shift = max(shifts.items(), key=lambda pair: pair[1])
    momentum = ledger.facts("norm.momentum").get(layer, 0.1)
    facts = {"train": pairs[-1][0], "eval": pairs[-1][1], "shift": shift, "momentum": momentum}
    if shift > 0.3 and sum(worse) >= 0.5 * len(worse):
        yield Finding("norm.train_eval_gap", "error", 0.85, layer, facts)
    elif 0 < momentum < 0.005 and shift > 0.3:
        yield Finding("norm.train_eval_gap", "warning", 0.7, layer, facts)


SPEC = FindingSpec(
    code="norm.train_eval_gap",
    order=210,
    severities=(
        "error",
        "warning",
    ),
    rule=train_eval_gap,
    words=Words(
        title="The same batch is far worse in eval mode",
        cause=(
            "Its loss is {train} in train mode and {eval} in eval mode: the running statistics of {where} differ by "
            "{shift} standard deviations from those of the batches (momentum {momentum})."
        ),
        fix=(
            "Use the usual momentum of 0.1, train longer before evaluating, or recompute the statistics: "
            "torch.optim.swa_utils.update_bn(loader, model)."
        ),
    ),
    charts=(
        pair(
            message("doctor.chart.the_same_batch_in_both", "The same batch in both modes"),
            message("doctor.chart.loss", "loss"),
            ("mode.loss_train", "", message("doctor.chart.train_mode", "train mode")),
            ("mode.loss_eval", "", message("doctor.chart.eval_mode", "eval mode")),
            x="epoch",
            log=None,
        ),
        by_layer(
            message("doctor.chart.running_mean_against_the_batch", "Running mean against the batch's"),
            message("doctor.chart.difference_in_deviations", "difference in deviations"),
            "norm.mean_shift",
        ),
    ),
    explains=("fit.*",),
    needs=("mode.loss_eval",),
    concerns=has_norm,
)

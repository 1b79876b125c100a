"""Finding norm.train_eval_gap: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from danlu.doctor.derived.applies import has_norm
from danlu.doctor.drawings.over_layers import by_layer
from danlu.doctor.drawings.over_time import pair
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import layer_place


def train_eval_gap(ledger: Ledger) -> Iterable[Finding]:
    """The same batch is far worse in eval mode: running statistics differ from those of the batches."""
    train, eval_ = ledger.values("mode.loss_train"), ledger.values("mode.loss_eval")
    pairs = [(a, b) for a, b in zip(train, eval_) if math.isfinite(a) and math.isfinite(b)]
    shifts = ledger.facts("norm.mean_shift")
    if any(ledger.facts("norm.running_nonfinite").values()):
        layer = next(layer for layer, bad in ledger.facts("norm.running_nonfinite").items() if bad)
        facts: dict[str, Any] = {"train": (train or [None])[-1], "eval": (eval_ or [None])[-1]}
        facts["why"] = message(
            "finding.norm.train_eval_gap.nonfinite",
            "The running statistics of {layer} hold NaN or infinity, which eval mode uses",
            layer=layer_place(layer),
        )
        yield Finding("norm.train_eval_gap", "error", 0.95, layer, facts | {"fix": "reset"})
        return
    if len(pairs) < 2 or not shifts:
        return
    worse = [b > 1.3 * a + 0.1 for a, b in pairs[-4:]]
    layer, shift = max(shifts.items(), key=lambda pair: pair[1])
    known = ledger.facts("norm.momentum").get(layer)
    momentum = 0.1 if known is None else known  # None: the mean over all batches
    facts = {"train": pairs[-1][0], "eval": pairs[-1][1], "shift": shift, "momentum": momentum}
    facts["fix"] = "momentum" if momentum < 0.05 else "update"
    facts["why"] = message(
        "finding.norm.train_eval_gap.apart",
        "The loss of one batch is {train} in train mode and {eval} in eval mode: the running mean of {layer} is {shift} standard "
        "deviations away from that of the batch (momentum {momentum})",
        train=pairs[-1][0],
        eval=pairs[-1][1],
        layer=layer_place(layer),
        shift=shift,
        momentum=momentum,
    )
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
        cause="{why}.",
        fix=(
            "Use the usual momentum of 0.1, and recompute the running statistics from the training set "
            "before evaluating."
        ),
        snippet={
            "reset": (
                "for m in model.modules():\n"
                "    if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):\n"
                "        m.reset_running_stats()\n"
                "torch.optim.swa_utils.update_bn(loader, model)"
            ),
            "momentum": (
                "for m in model.modules():\n"
                "    if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):\n"
                "        m.momentum = 0.1\n"
                "torch.optim.swa_utils.update_bn(loader, model)"
            ),
            "update": "torch.optim.swa_utils.update_bn(loader, model)",
        },
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

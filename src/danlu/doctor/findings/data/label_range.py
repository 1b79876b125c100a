"""Finding data.label_range: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from danlu.doctor.derived.input_statistics import are_tokens
from danlu.doctor.derived.labels import labels_seen, mean_rows
from danlu.doctor.drawings.counts import label_span
from danlu.doctor.finding import Finding
from danlu.doctor.findings.model.loss_mismatch import is_regression
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.loss.loss_kind import SIGNED, loss_name
from danlu.doctor.phrase import message

VOID = 255  # label of pixels without a class in the masks of most data sets
MIN_GAP = 50  # labels below it that never occur
MIN_LABELS_PER_CLASS = 5  # with fewer, the first class may be missing by chance
CLASS_LOSSES = ("cross_entropy", "nll")

ZERO_OR_ONE = message("finding.data.label_range.sign", "labels of a binary loss must be 0 or 1")
MINUS_ONE_OR_ONE = message("finding.data.label_range.unsigned", "labels of this loss must be -1 or 1")


def label_range(ledger: Ledger) -> Iterable[Finding]:
    """Labels that do not fit the loss: outside 0..K-1, counted from 1, or -1 and 1 where 0 and 1 are expected."""
    checks = (_beyond_outputs, _not_binary, _not_signed, _not_of_margin, _not_binary_by_hand, _void, _counted_from_one)
    for check in checks:
        if (found := check(ledger)) is not None:
            yield found
            return


def _finding(ledger: Ledger, confidence: float, **evidence: Any) -> Finding:
    """Return the finding with the range of the labels and the `evidence` of its case."""
    facts: dict[str, Any] = {"low": _low(ledger), "high": _high(ledger)}
    facts |= {"outputs": ledger.last("output.count", default=0), "outside": int(sum(ledger.values("target.outside")))}
    return Finding("data.label_range", "error", confidence, "", facts | evidence)


def _beyond_outputs(ledger: Ledger) -> Finding | None:
    """Labels that are not among 0 .. outputs - 1."""
    if not sum(ledger.values("target.outside")):
        return None
    low, high, outputs = _low(ledger), _high(ledger), ledger.last("output.count", default=0)
    problem = message("finding.data.label_range.outside", "some lie outside the valid range")
    if low is None or high is None or not outputs:
        seen = message("finding.data.label_range.unseen", "The loss got a label that is not among its classes")
    else:
        seen = message(
            "finding.data.label_range.beyond",
            "The labels range from {low} to {high}, while a model with {outputs} outputs allows 0 to {last}",
            low=low,
            high=high,
            outputs=outputs,
            last=outputs - 1,
        )
    fix = "from_one" if low == 1 and high == outputs else "map"
    return _finding(ledger, 0.97, problem=problem, seen=seen, fix=fix)


def _not_binary(ledger: Ledger) -> Finding | None:
    """Labels outside 0 .. 1 of a binary cross entropy."""
    low, high = _low(ledger), _high(ledger)
    is_binary = ledger.last("loss.kind", default="") in ("bce", "bce_logits")
    if not is_binary or low is None or (low >= 0 and (high or 0) <= 1) or is_regression(ledger):
        return None
    seen = message(
        "finding.data.label_range.binary",
        "The labels range from {low} to {high}, while the binary loss expects 0 and 1",
        low=low,
        high=high,
    )
    reconstructs = ledger.last("target.shape") == ledger.last("input.shape", default=[])
    fix = "sign" if low == -1 and high == 1 else "scale" if reconstructs and low >= 0 else "map"
    return _finding(ledger, 0.95, problem=ZERO_OR_ONE, seen=seen, fix=fix)


def _not_signed(ledger: Ledger) -> Finding | None:
    """Two labels, none negative, of a loss of torch for -1 and 1."""
    kind = ledger.last("loss.kind", default="")
    if kind not in SIGNED or ledger.last("target.signed") != 0 or ledger.last("target.distinct") != 2:
        return None
    seen = message(
        "finding.data.label_range.pairs",
        "The labels have two values and none is negative, while {loss} expects -1 and 1",
        loss=loss_name(kind),
    )
    return _finding(ledger, 0.95, problem=MINUS_ONE_OR_ONE, seen=seen, fix="unsigned")


def _not_of_margin(ledger: Ledger) -> Finding | None:
    """Labels 0 and 1 of a hinge loss written by hand."""
    if ledger.last("loss.signed_margin") != 0:
        return None
    seen = message(
        "finding.data.label_range.margin",
        "The loss multiplies the outputs by the labels, as a hinge loss does for labels of -1 and 1. These labels are 0 and "
        "1, so that every sample of class 0 gets a gradient of exactly 0",
    )
    return _finding(ledger, 0.95, problem=MINUS_ONE_OR_ONE, seen=seen, fix="unsigned")


def _not_binary_by_hand(ledger: Ledger) -> Finding | None:
    """Labels outside 0 .. 1 of a binary cross entropy written by hand."""
    if not has_other_binary_labels(ledger):
        return None
    low, high = ledger.last("loss.binary_labels")
    seen = message(
        "finding.data.label_range.binary_by_hand",
        "The labels are {low} and {high}, while the binary cross entropy that the loss computes expects 0 and 1",
        low=low,
        high=high,
    )
    return _finding(ledger, 0.95, low=low, high=high, problem=ZERO_OR_ONE, seen=seen, fix="map")


def _void(ledger: Ledger) -> Finding | None:
    """Label 255 of unlabelled pixels, which is learnt as a class."""
    frequencies = mean_rows(ledger.values("class.actual", "train"))
    if ledger.last("loss.kind", default="") not in CLASS_LOSSES or not marks_unlabelled(ledger, frequencies):
        return None
    problem = message("finding.data.label_range.unlabelled", "255 marks what has no label")
    seen = message(
        "finding.data.label_range.void",
        "{fraction:%} of the labels are 255 and none lies between {next} and 254: 255 is the usual mark of unlabelled "
        "pixels, which the model now learns as a class",
        fraction=frequencies[VOID],
        next=max(k for k, one in enumerate(frequencies[:VOID]) if one > 0) + 1,
    )
    return _finding(ledger, 0.93, problem=problem, seen=seen, fix="void")


def _counted_from_one(ledger: Ledger) -> Finding | None:
    """Labels 1 .. K of K + 1 outputs, of which the first is never used."""
    frequencies = mean_rows(ledger.values("class.actual", "train"))
    held = mean_rows(ledger.values("class.actual", "val"))
    absent = ledger.last("loss.kind", default="") in CLASS_LOSSES and len(frequencies) >= 3
    absent = absent and frequencies[0] == 0 and min(frequencies[1:]) > 0 and not (held and held[0])
    absent = absent and ledger.last("loss.option", "ignore_index") != 0
    absent = absent and not predicts_tokens(ledger)  # of which 0 may be a special one, as for padding
    if not absent or labels_seen(ledger) < MIN_LABELS_PER_CLASS * len(frequencies):
        return None
    problem = message("finding.data.label_range.from_one", "they are counted from 1")
    seen = message(
        "finding.data.label_range.no_zero",
        "Among {labels} labels none is 0 and each of 1 to {high} occurs, so that output 0 is never used",
        labels=labels_seen(ledger),
        high=len(frequencies) - 1,
    )
    return _finding(ledger, 0.9, problem=problem, seen=seen, fix="from_one")


def predicts_tokens(ledger: Ledger) -> bool:
    """Return whether inputs are integers, and there are several labels for each of them."""
    labels = math.prod(ledger.last("target.shape", default=[]) or [1])
    return are_tokens(ledger) and labels > ledger.last("batch.size", default=0)


def has_other_binary_labels(ledger: Ledger) -> bool:
    """Return whether a binary cross entropy written by hand has two integer labels of which one is outside 0 .. 1."""
    labels = ledger.last("loss.binary_labels")
    return bool(labels) and all(one == round(one) for one in labels) and (labels[0] < 0 or labels[1] > 1)


def marks_unlabelled(ledger: Ledger, frequencies: list[float]) -> bool:
    """Return whether the label 255 occurs, far above all others, and the loss does not leave it out."""
    if len(frequencies) <= VOID or frequencies[VOID] == 0 or ledger.last("loss.option", "ignore_index") == VOID:
        return False
    used = [k for k, frequency in enumerate(frequencies[:VOID]) if frequency > 0]
    return bool(used) and used[-1] < VOID - MIN_GAP


def _low(ledger: Ledger) -> float | None:
    return _extreme(ledger, "target.min", min)


def _high(ledger: Ledger) -> float | None:
    return _extreme(ledger, "target.max", max)


def _extreme(ledger: Ledger, name: str, of: Callable[[list[float]], float]) -> float | None:
    values = [v for phase in ledger.wheres(name) for v in ledger.values(name, phase)]
    return of(values) if values else None


SPEC = FindingSpec(
    code="data.label_range",
    order=90,
    severities=("error",),
    rule=label_range,
    words=Words(
        title="Labels are not what the loss expects: {problem}",
        cause=(
            "{seen}. Labels of CrossEntropyLoss and NLLLoss are integers 0 .. K-1 for K outputs, those of a "
            "binary loss 0 and 1."
        ),
        fix=("Map the labels to the range that the loss expects, and give the model one output for each class."),
        snippet={
            "map": ('classes, y_train = torch.unique(y_train, return_inverse=True)\nprint(len(classes), "classes")'),
            "from_one": "y_train = y_train - 1",
            "scale": "x_train = x_train / x_train.max()",
            "sign": "y_train = (y_train + 1) / 2",
            "void": "loss_fn = nn.CrossEntropyLoss(ignore_index=255)",
            "unsigned": "y_train = 2 * y_train - 1",
        },
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

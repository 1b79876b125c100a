"""Finding data.labels_missing: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from danlu.doctor.derived.labels import labels_places, labels_seen, mean_rows
from danlu.doctor.derived.progress import steps_taken
from danlu.doctor.derived.several_models import is_one_of_several
from danlu.doctor.drawings.counts import classes
from danlu.doctor.finding import Finding
from danlu.doctor.findings.data.not_shuffled import not_shuffled
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.loss.loss_kind import CROSS_ENTROPIES, SQUARED
from danlu.doctor.phrase import message
from danlu.doctor.places import class_label

BINARY = ("bce", "bce_logits")  # losses of one output for two classes
MIN_TARGETS = 200  # of a training; fewer may be equal by chance
MIN_STEPS = 50  # of a training; in fewer, labels by the untrained model itself (pseudo-labels) may all be one class
MAX_ABSENT = 0.34  # of all classes; where more are without labels, the data are a part of another data set
MAX_CLASSES, MIN_LABELS_EACH = 30, 50  # and labels for each class, so that none is absent by chance
MIN_VAL_FRACTION, MIN_EXPECTED = 0.02, 10  # of the validation labels, and training labels then expected of a class
MAX_VAL_FRACTION = 0.34  # of the validation labels; beyond it the data were split by label (data.split_shift)
ONE_VALUE = message(
    "finding.data.labels_missing.type",
    "Print some targets before and after each conversion: a cast of fractions to integers (.long()) makes them 0, as does "
    "ToTensor() on a mask, which divides by 255.",
)
MIN_MASKED = 6  # measured losses, of which a mask leaves out some targets
MASK = message(
    "finding.data.labels_missing.invert",
    "Keep the terms of the tokens and leave out those of the padding: the mask is true where a target counts.",
)
LOST = message(
    "finding.data.labels_missing.lost",
    "Count the labels right after reading them: some get lost in a join of tables, a default for missing values, or a map from "
    "names to numbers.",
)


def labels_missing(ledger: Ledger) -> Iterable[Finding]:
    """All targets are equal, or a class that validation or the numbering of the classes knows has no training label."""
    value = only_target(ledger)
    if value is not None:
        facts: dict[str, Any] = {"value": value, "seen": labels_seen(ledger), "do": ONE_VALUE, "fix": "unique"}
        facts["title"] = message("finding.data.labels_missing.equal_title", "All targets are {value}", value=value)
        facts["problem"] = message(
            "finding.data.labels_missing.equal",
            "Each of the {seen:.0f} training targets that were checked is {value}. There is nothing to learn from them, and the "
            "loss is near 0 for a model whose answer is always the same",
            seen=facts["seen"],
            value=value,
        )
        yield Finding("data.labels_missing", "error", 0.95, "", facts)
        return
    if (masked := only_counted_target(ledger)) is not None:
        value, fraction = masked
        facts = {"value": value, "fraction": fraction, "do": MASK, "fix": "mask"}
        facts["title"] = message(
            "finding.data.labels_missing.mask_title", "The loss only counts targets that are {value}", value=value
        )
        facts["problem"] = message(
            "finding.data.labels_missing.mask",
            "The mask of the loss leaves {fraction:%} of the targets, and each of these is {value}, although the targets have "
            "other values: it is probably inverted and keeps the padding",
            value=value,
            fraction=fraction,
        )
        yield Finding("data.labels_missing", "error", 0.93, "", facts)
        return
    train, val = (mean_rows(ledger.values("class.actual", phase)) for phase in ("train", "val"))
    if len(train) < 2 or any(True for _ in not_shuffled(ledger)):
        return  # the measured batches do not represent sorted data
    held = _absent_but_validated(ledger, train, val)
    if held:
        fraction = sum(val[k] for k in held)
        yield _absent(
            ledger,
            held,
            "error",
            message(
                "finding.data.labels_missing.validated",
                "No training label is of class {names}, which has {fraction:%} of the validation labels: the model cannot learn it",
                names=[class_label(ledger, k) for k in held[:8]],
                fraction=fraction,
            ),
        )
        return
    between = [] if val and len(val) == len(train) and _any_of(val, train) else _absent_between(ledger, train)
    if between:
        yield _absent(
            ledger,
            between,
            "warning",
            message(
                "finding.data.labels_missing.between",
                "None of {labels:.0f} training labels is of class {names}, although classes with lower and with higher numbers "
                "are frequent: the model learns never to answer so",
                labels=labels_seen(ledger),
                names=[class_label(ledger, k) for k in between[:8]],
            ),
        )


def only_target(ledger: Ledger) -> float | None:
    """The value of all targets of a training, if there is only one and the loss takes the outputs of the model themselves."""
    kind = ledger.last("loss.kind")
    ends = {v for end in ("min", "max") for v in ledger.values(f"target.{end}", "train")}
    enough = (
        labels_seen(ledger) >= MIN_TARGETS
        and steps_taken(ledger) >= MIN_STEPS
        and bool(ledger.values("target.min", "train"))
    )
    if not enough or len(ends) != 1 or ledger.last("loss.terms", default=1) > 1 or is_one_of_several(ledger):
        return None
    classifies = kind in CROSS_ENTROPIES and (kind in BINARY or (ledger.last("output.count") or 0) > 1)
    direct = (
        ledger.last("output.direct") == 1
    )  # else they are residuals, or similarities whose first column is always the right one
    return ends.pop() if direct and (classifies or kind in SQUARED) else None


def only_counted_target(ledger: Ledger) -> tuple[float, float] | None:
    """The value of all targets that a mask leaves in the loss, and their mean fraction, where other values are left out."""
    rows = [row for row in ledger.values("loss.counted_targets") if row[0] > 0]
    if len(rows) < MIN_MASKED or steps_taken(ledger) < MIN_STEPS or is_one_of_several(ledger):
        return None
    kept, every = ({value for row in rows for value in row[at : at + 2]} for at in (1, 3))
    return (kept.pop(), sum(row[0] for row in rows) / len(rows)) if len(kept) == 1 and len(every) > 1 else None


def _absent_but_validated(ledger: Ledger, train: list[float], val: list[float]) -> list[int]:
    """Classes without a training label that are frequent in validation."""
    least = max(MIN_VAL_FRACTION, MIN_EXPECTED / max(1, labels_seen(ledger)))
    if len(train) != len(val):
        return []
    absent = [k for k, (a, b) in enumerate(zip(train, val)) if a == 0 and b > least]
    return absent if sum(val[k] for k in absent) <= MAX_VAL_FRACTION else []


def _any_of(val: list[float], train: list[float]) -> bool:
    return any(a == 0 and b > 0 for a, b in zip(train, val))


def _absent_between(ledger: Ledger, train: list[float]) -> list[int]:
    """Classes without a label between others that are frequent.

    The first is left out: there the labels are counted from 1 (data.label_range), or it is padding. So are labels of
    items or pixels: a vocabulary has numbers that a text does not use.
    """
    if labels_places(ledger):
        return []
    top = max((k for k, frequency in enumerate(train) if frequency > 0), default=0)
    absent = [k for k in range(1, top) if train[k] == 0 and ledger.last("loss.option", "ignore_index") != k]
    if steps_taken(ledger) < MIN_STEPS:
        return []
    few = len(absent) <= MAX_ABSENT * len(train) and len(train) <= MAX_CLASSES
    return absent if few and labels_seen(ledger) >= MIN_LABELS_EACH * len(train) else []


def _absent(ledger: Ledger, absent: list[int], severity: str, problem: Any) -> Finding:
    facts: dict[str, Any] = {"classes": absent[:8], "seen": labels_seen(ledger), "problem": problem}
    facts |= {"do": LOST, "fix": "count"}
    facts["title"] = (
        message(
            "finding.data.labels_missing.one_title",
            "Class {name} has no training label",
            name=class_label(ledger, absent[0]),
        )
        if len(absent) == 1
        else message(
            "finding.data.labels_missing.some_title", "{count} classes have no training label", count=len(absent)
        )
    )
    return Finding("data.labels_missing", severity, 0.93 if severity == "error" else 0.85, "", facts)


SPEC = FindingSpec(
    code="data.labels_missing",
    order=88,
    severities=("error", "warning"),
    rule=labels_missing,
    words=Words(
        title="{title}",
        cause="{problem}.",
        fix="{do}",
        snippet={
            "unique": "print(torch.unique(y_train.flatten(), return_counts=True))",
            "count": "print(torch.bincount(y_train.flatten()))",
            "mask": (
                "targets = torch.tensor([[3, 1, 0], [2, 0, 0]])  # 0: padding\n"
                "terms = torch.rand(2, 3)  # of a loss with reduction='none'\n"
                "mask = targets != 0\n"
                "loss = (terms * mask).sum() / mask.sum()"
            ),
        },
    ),
    charts=(
        classes(
            message("doctor.chart.each_class_how_common_and", "Each class: how common, and how much of it is found"),
            ("class.actual", "train", message("doctor.chart.fraction_of_the_labels", "fraction of the labels")),
            ("class.correct", "val", message("doctor.chart.of_these_found", "of these found")),
        ),
    ),
    explains=(
        "fit.*",
        "optim.*",
        "data.split_shift",
        "data.label_noise",
        "data.label_range",
        "activation.collapsed",
        "gradient.*",
    ),
    needs=("target.min[train]",),
    alone=True,
)

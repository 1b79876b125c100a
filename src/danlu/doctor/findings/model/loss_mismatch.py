"""Finding model.loss_mismatch: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.learning import final_skill
from danlu.doctor.derived.progress import accuracies
from danlu.doctor.drawings.over_layers import outputs_and_loss
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.loss.loss_kind import SQUARED, loss_name
from danlu.doctor.phrase import message
from danlu.doctor.places import LOSS

KINDS = {
    "classes": message("finding.model.loss_mismatch.classes", "class numbers"),
    "one_hot": message("finding.model.loss_mismatch.one_hot", "one-hot vectors"),
    "binary": message("finding.model.loss_mismatch.binary", "0 and 1"),
    "values": message("finding.model.loss_mismatch.values", "real numbers"),
    "none": message("finding.model.loss_mismatch.none", "not known"),
}
MIN_LEARNT = 0.5  # of the way from chance level to no error, from which on a binary loss does little harm
MIN_FITTED = 0.8  # skill of a squared error for zeros and ones, from which on it does little harm
SEVERAL = message("finding.model.loss_mismatch.several", "vectors with any number of ones")


def loss_mismatch(ledger: Ledger) -> Iterable[Finding]:
    """A loss that does not fit the targets: classes, several labels, values."""
    kind, outputs, targets = ledger.last("loss.kind"), ledger.last("output.count"), ledger.last("target.kind")
    distinct, batch = ledger.last("target.distinct", default=0), ledger.first("batch.size", default=0)
    facts = {"loss": kind, "outputs": outputs, "targets": KINDS.get(str(targets), str(targets)), "distinct": distinct}
    facts |= {"name": loss_name(kind), "fix": "one_output" if outputs == 1 else ""}
    if kind == "cross_entropy" and outputs == 1 and len(ledger.last("output.shape", default=[])) > 1:
        yield Finding("model.loss_mismatch", "error", 0.99, LOSS, facts | {"better": "BCEWithLogitsLoss"})
    elif kind == "cross_entropy" and targets == "binary" and (outputs or 0) > 1 and has_float_targets(ledger):
        facts |= {"targets": SEVERAL, "better": "BCEWithLogitsLoss"}
        yield Finding("model.loss_mismatch", "error", 0.93, LOSS, facts)
    elif kind in ("bce", "bce_logits") and is_regression(ledger):
        yield Finding("model.loss_mismatch", "error", 0.96, LOSS, facts | {"better": "MSELoss"})
    elif kind in SQUARED and ledger.last("loss.terms", default=1) > 1:
        return  # as the loss of a critic beside that of a policy: outputs of the same model are for different targets
    elif kind in SQUARED and targets in ("one_hot", "binary"):
        learns = (final_skill(ledger) or 0.0) > MIN_FITTED
        facts |= {"better": "BCEWithLogitsLoss" if targets == "binary" and distinct <= 2 else "CrossEntropyLoss"}
        yield Finding("model.loss_mismatch", "note" if learns else "warning", 0.85, LOSS, facts)
    elif kind in SQUARED and targets == "classes":
        better = "BCEWithLogitsLoss" if distinct <= 2 else "CrossEntropyLoss"
        yield Finding("model.loss_mismatch", "warning", 0.85, LOSS, facts | {"better": better})
    elif kind in SQUARED and are_class_numbers(ledger) and distinct <= 20 and batch >= 2 * distinct:
        yield Finding("model.loss_mismatch", "warning", 0.75, LOSS, facts | {"better": "CrossEntropyLoss"})
    elif kind in ("bce", "bce_logits") and targets == "one_hot" and (outputs or 0) > 2:
        learns = learns_classes(ledger, outputs or 2)
        facts |= {"better": "CrossEntropyLoss"}
        yield Finding("model.loss_mismatch", "note" if learns else "warning", 0.8 if learns else 0.7, LOSS, facts)


def learns_classes(ledger: Ledger, classes: int) -> bool:
    """Return whether the classes were learnt all the same: the loss fell by half, or half of the errors are gone."""
    scores = accuracies(ledger, "val") or accuracies(ledger, "train")
    right = max(scores.values(), default=0.0)
    return (final_skill(ledger) or 0.0) > MIN_LEARNT or right > (1 + 1 / classes) * MIN_LEARNT


def has_float_targets(ledger: Ledger) -> bool:
    """Return whether targets are floating-point numbers, which cross entropy takes for probabilities of the classes."""
    return "float" in str(ledger.last("target.dtype"))


def are_class_numbers(ledger: Ledger) -> bool:
    """Return whether targets are integers that count from 0: ratings from 1 to 5 have an order and a distance."""
    ends = [ledger.first(f"target.{end}", "train") for end in ("min", "max")]
    from_zero = None in ends or (ends[0] == 0 and ends[1] >= 2)
    return bool(ledger.last("target.whole")) and from_zero


def is_regression(ledger: Ledger) -> bool:
    """Return whether targets are continuous values of a wider range than the probabilities of a binary loss."""
    if ledger.last("target.kind") != "values" or (ledger.last("target.distinct", default=0) or 0) <= 3:
        return False
    ends = [ledger.last(f"target.{end}", "train") for end in ("min", "max")]
    if ledger.last("target.shape") == ledger.last("input.shape") and None not in ends and ends[0] >= 0:
        return False  # an autoencoder of pixels that are not scaled to 0 .. 1
    return all(end is not None for end in ends) and (ends[0] < 0 or ends[1] > 1)


SPEC = FindingSpec(
    code="model.loss_mismatch",
    order=190,
    severities=(
        "error",
        "warning",
        "note",
    ),
    rule=loss_mismatch,
    words=Words(
        title="The loss does not fit the task",
        cause=(
            "The loss is {name}; the number of outputs is {outputs}, and the targets are {targets} "
            "({distinct} different values). {better} is the loss for such targets."
        ),
        fix="Use nn.{better}.",
        snippet={
            "": "loss_fn = nn.{better}()",
            "one_output": ("loss_fn = nn.{better}()\nloss = loss_fn(outputs[:, 0], y.float())"),
        },
    ),
    charts=(outputs_and_loss,),
    explains=(
        "fit.*",
        "optim.*",
        "gradient.*",
        "activation.*",
        "model.output_mismatch",
        "data.label_range",
        "data.targets_not_scaled",
        "numerics.nonfinite",
        "model.bad_init",
    ),
    needs=(
        "loss.kind",
        "target.kind",
    ),
    overcome_at=0.95,
)

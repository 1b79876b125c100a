"""Finding fit.one_class: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from danlu.doctor.derived.applies import classifies
from danlu.doctor.derived.labels import mean_rows
from danlu.doctor.derived.progress import accuracies
from danlu.doctor.drawings.counts import classes
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import class_label, class_place
from danlu.message import Message

MIN_STEPS = 50  # before, a network that starts to learn often predicts one class
WEIGHTED = {
    "fix": "weight",
    "do": message(
        "finding.fit.one_class.balance",
        "Check the weights given to the loss; balanced ones are the number of samples over classes times the class count.",
    ),
}
MAX_EXCESS = 10  # times the weight of a class that its frequency justifies
NEARLY_ALL, FREQUENT_CLASS = 0.98, 0.9  # fractions of the predictions, and of the labels, that are of one class
FREQUENT, HEAVIER = 1.3, 1.5  # times as frequent, and times the weight, of a class and a rarer one
MIN_HARM = 0.3  # recall of the most frequent class above that of the rarest
MIN_SAMPLES = 20  # validation samples; fewer may be of one predicted class by chance


def one_class(ledger: Ledger) -> Iterable[Finding]:
    """All predictions are of one class, or a weight in the loss favours one more than the class frequencies justify."""
    if weighted := _weighted_too_much(ledger) or _inverted(ledger):
        yield weighted
        return
    said, real = ledger.last("class.predicted", "val"), ledger.last("class.actual", "val")
    epochs, measured = len(ledger.values("loss.mean", "train")), ledger.series("class.predicted", "val")[0]
    if not said or not real or len(said) != len(real) or epochs < 2 or measured[-1] <= epochs / 2:
        return  # not measured late enough
    steps, samples = ledger.last("run.steps"), ledger.last("epoch.samples", "val")
    if (steps is not None and steps < MIN_STEPS) or (samples is not None and samples < MIN_SAMPLES):
        return
    if (
        found := _predicted(ledger, said, real)
        or _positive_weighted(ledger, said, real)
        or _uncounted(ledger, said, real)
    ):
        yield found


def _finding(
    ledger: Ledger,
    severity: str,
    confidence: float,
    facts: dict[str, Any],
    fractions: tuple[Any, Any] | None = None,
) -> Finding:
    """The finding on facts["class"]. fractions: of predictions and of samples by class, to name with it."""
    number = facts["class"]
    if fractions is not None:
        said, real = fractions
        facts |= {"predicted": said[number], "actual": real[number]}
        facts["details"] = class_fractions(ledger, facts)
    return Finding("fit.one_class", severity, confidence, class_place(class_label(ledger, number)), facts)


def _weighted_too_much(ledger: Ledger) -> Finding | None:
    """A class whose weight in the loss is many times what its frequency justifies."""
    favoured, excess = heaviest_class(ledger)
    if excess <= MAX_EXCESS:
        return None
    problem = message(
        "finding.fit.one_class.class_weight",
        "in the loss class {number} weighs {excess:.3g} times as much as its frequency justifies",
        number=class_label(ledger, favoured),
        excess=excess,
    )
    details = message("finding.fit.one_class.others", "Errors on the other classes hardly change the loss.")
    facts = {"problem": problem, "details": details, "class": favoured, "excess": excess, "threshold": MAX_EXCESS}
    said = ledger.last("class.predicted", "val")
    alone = bool(said) and favoured < len(said) and said[favoured] > NEARLY_ALL
    return _finding(ledger, "error" if alone else "warning", 0.85, facts | WEIGHTED)


def _inverted(ledger: Ledger) -> Finding | None:
    """Weights of the loss that grow with the frequency of the classes."""
    inverted = inverted_weights(ledger)
    if inverted is None:
        return None
    common, rare = inverted
    problem = message(
        "finding.fit.one_class.inverted",
        "the weights of the loss grow with the frequency of the classes",
    )
    details = message(
        "finding.fit.one_class.heavier",
        "Class {common} is more frequent than class {rare} and weighs more in the loss as well, so that rare classes hardly "
        "count. Weights that balance classes are the inverse of their frequencies.",
        common=class_label(ledger, common),
        rare=class_label(ledger, rare),
    )
    facts = {"problem": problem, "details": details, "class": common, "threshold": 1.0} | WEIGHTED
    return _finding(ledger, "warning", 0.9, facts | ({} if ledger.has("loss.class_weights") else {"fix": "binary"}))


def _predicted(ledger: Ledger, said: Sequence[float], real: Sequence[float]) -> Finding | None:
    """Nearly all predictions are of one class."""
    top = max(range(len(said)), key=said.__getitem__)
    if said[top] <= NEARLY_ALL or real[top] >= FREQUENT_CLASS:
        return None
    problem = message(
        "finding.fit.one_class.predictions",
        "{fraction:%} of the predictions are class {number}",
        fraction=round(said[top], 2),
        number=class_label(ledger, top),
    )
    do = message(
        "finding.fit.one_class.collapsed",
        "Lower the learning rate, and check that the outputs differ from sample to sample; if class {number} is only more "
        "frequent, weigh the classes in the loss.",
        number=class_label(ledger, top),
    )
    facts = {"class": top, "threshold": NEARLY_ALL, "problem": problem, "do": do}
    return _finding(ledger, "error", 0.75, facts, (said, real))


def _positive_weighted(ledger: Ledger, said: Sequence[float], real: Sequence[float]) -> Finding | None:
    """A weight of the positive class, of two, that its frequency does not justify."""
    weight = positive_weight(ledger)
    balance = (1 - real[1]) / max(real[1], 1e-3) if len(real) == 2 else 0.0
    if not weight or not balance or weight <= max(MAX_EXCESS, 5 * balance):
        return None
    problem = message(
        "finding.fit.one_class.positive_weight",
        "class {number} has a weight of about {weight:.3g}, where the class frequencies justify {balance:.2g}",
        weight=weight,
        balance=balance,
        number=class_label(ledger, 1),
    )
    facts = {"class": 1, "threshold": NEARLY_ALL, "problem": problem, "weight": weight} | WEIGHTED | {"fix": "binary"}
    return _finding(ledger, "warning", 0.8, facts, (said, real))


def _uncounted(ledger: Ledger, said: Sequence[float], real: Sequence[float]) -> Finding | None:
    """A loss that hardly counts the wrong predictions."""
    loss, wrong = uncounted_errors(ledger)
    if not wrong:
        return None
    favoured = max(range(len(said)), key=lambda k: said[k] - real[k])
    problem = message(
        "finding.fit.one_class.uncounted",
        "the loss ({loss:.3g}) hardly counts the {wrong:%} of wrong predictions",
        loss=loss,
        wrong=wrong,
    )
    facts = {"class": favoured, "threshold": NEARLY_ALL, "problem": problem}
    return _finding(ledger, "warning", 0.8, facts | WEIGHTED, (said, real))


def class_fractions(ledger: Ledger, facts: dict[str, Any]) -> Message:
    """Sentence on the fractions of a class among the predictions and the labels."""
    return message(
        "finding.fit.one_class.fractions",
        "Class {number} is {predicted:%} of the predictions and {actual:%} of the labels.",
        number=class_label(ledger, facts["class"]),
        predicted=facts["predicted"],
        actual=facts["actual"],
    )


def heaviest_class(ledger: Ledger) -> tuple[int, float]:
    """Class with the largest weight, and that weight over the one justified by its frequency.

    A class may weigh as much as the median one, times its rarity. (0, 0) where no weights are known.
    """
    weights, frequencies = ledger.last("loss.class_weights"), ledger.last("class.actual", "val")
    frequencies = frequencies or ledger.last("class.actual", "train")
    if not weights or not frequencies or len(weights) != len(frequencies) or len(weights) < 2:
        return 0, 0.0
    found = []
    for k, weight in enumerate(weights):
        other = median(weights[:k] + weights[k + 1 :])
        rarer = median(frequencies[:k] + frequencies[k + 1 :]) / max(frequencies[k], 1e-3)
        found.append(weight / other / max(1.0, rarer) if other > 0 else 0.0)
    most = max(range(len(found)), key=found.__getitem__)
    return most, found[most]


def inverted_weights(ledger: Ledger) -> tuple[int, int] | None:
    """Most and least frequent class, if weights of the loss grow with the frequencies and rare classes are not found.

    Classes of weight 0 are left out.
    """
    weights, positive = ledger.last("loss.class_weights"), ledger.last("loss.option", "pos_weight")
    frequencies = mean_rows(ledger.values("class.actual", "train"))
    if not weights and isinstance(positive, list) and len(positive) == 1:
        weights = [1.0, positive[0]]
    if not weights or not frequencies or len(weights) != len(frequencies):
        return None
    known = [(f, w, k) for k, (f, w) in enumerate(zip(frequencies, weights)) if w > 0 and f > 0]
    pairs = [(a, b) for a in known for b in known if a[0] > FREQUENT * b[0]]
    if not pairs or any(a[1] < b[1] for a, b in pairs):
        return None
    most, least = max(known), min(known)
    recalls = ledger.last("class.correct", "val") or []
    harmed = len(recalls) == len(weights) and 0 <= recalls[least[2]] < recalls[most[2]] - MIN_HARM
    return (most[2], least[2]) if harmed and most[1] > HEAVIER * least[1] else None


def positive_weight(ledger: Ledger) -> float | None:
    """pos_weight of a binary loss, from the first loss: where outputs are near 0 both classes cost ln 2, times w."""
    frequencies, loss = ledger.first("class.actual", "train") or [], ledger.last("loss.initial")
    near_zero = abs(ledger.first("output.mean", default=9)) + ledger.first("output.std", default=9) < 1
    if ledger.last("loss.kind") != "bce_logits" or len(frequencies) != 2 or loss is None or not near_zero:
        return None
    return (loss / math.log(2) - frequencies[0]) / max(frequencies[1], 1e-3)


def uncounted_errors(ledger: Ledger) -> tuple[float, float]:
    """(loss, fraction of errors) of validation where the loss is less than these errors can cost, else (0, 0).

    A wrong prediction gives its class at most one half, so the mean cross entropy is at least ln 2 times the fraction of
    errors. A loss below that counts some classes less than others.
    """
    loss, right = ledger.last("loss.mean", "val"), accuracies(ledger, "val")
    if ledger.last("loss.kind") not in ("cross_entropy", "nll") or not right or loss is None:
        return 0.0, 0.0
    wrong = 1 - right[max(right)]
    return (loss, wrong) if wrong > 0.03 and 0 <= loss < 0.8 * math.log(2) * wrong else (0.0, 0.0)


SPEC = FindingSpec(
    code="fit.one_class",
    order=520,
    severities=(
        "error",
        "warning",
    ),
    rule=one_class,
    words=Words(
        title="One class is favoured: {problem}",
        cause="{details}",
        fix="{do}",
        snippet={
            "weight": (
                "counts = torch.bincount(y_train).clamp(min=1)\n"
                "loss_fn = nn.CrossEntropyLoss(weight=len(y_train) / (len(counts) * counts))"
            ),
            "binary": (
                "positives = (y_train == 1).sum()\n"
                "loss_fn = nn.BCEWithLogitsLoss(pos_weight=(len(y_train) - positives) / positives)"
            ),
        },
    ),
    charts=(
        classes(
            message("doctor.chart.what_is_predicted_and_what", "What is predicted, and what is there"),
            ("class.predicted", "val", message("doctor.chart.predictions", "predictions")),
            ("class.actual", "val", message("doctor.chart.labels", "labels")),
            late=True,
        ),
    ),
    explains=(
        "fit.not_learning",
        "fit.underfitting",
    ),
    needs=("class.predicted[val]",),
    concerns=classifies,
    alone=True,
)

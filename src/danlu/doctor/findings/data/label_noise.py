"""Finding data.label_noise: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from danlu.doctor.derived.applies import classifies
from danlu.doctor.derived.input_statistics import input_shift
from danlu.doctor.derived.labels import chance_accuracy, late_accuracy, late_mean
from danlu.doctor.drawings.over_epochs import contradicted, epoch_accuracies
from danlu.doctor.drawings.over_time import pair
from danlu.doctor.finding import Finding
from danlu.doctor.findings.data.split_shift import split_shift
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.message import Message

MIN_SAMPLES = 60  # validation samples, 20 in the top-scoring third
MIN_CONTRADICTED = 4  # validation samples


def label_noise(ledger: Ledger) -> Iterable[Finding]:
    """Labels that confident predictions contradict, in training and in validation (Northcutt et al. 2021).

    Confident predictions (above 0.8) that are often wrong give a warning if the top-scoring third errs at least half as
    often as all: the top-scoring third of a merely overconfident model is right. If noise kept the model from being
    confident, equal error rates of the top-scoring third and of all give a note: overlapping classes and underfitting
    cause errors where scores are low.
    """
    learned, fitted = late_accuracy(ledger, "val"), late_accuracy(ledger, "train")
    chance = chance_accuracy(ledger)
    samples = ledger.last("epoch.samples", "val")
    if samples is not None and samples < MIN_SAMPLES:
        return
    if learned is None or learned < min(2 * chance, chance + 0.25) or (fitted or 0) - learned >= 0.1:
        return
    if any(True for _ in split_shift(ledger)) or input_shift(ledger):
        return  # a class missing in training is contradicted in validation although its labels are right
    train, val = (late_mean(ledger, "label.contradicted", phase) for phase in ("train", "val"))
    sure, right = (late_mean(ledger, name, "val") for name in ("label.confident", "label.confident_correct"))
    top_third, errors = top_third_and_all_errors(ledger, "val")
    known = {
        "contradicted": val,
        "training": train,
        "confident": sure,
        "right": right,
        "top_third_correct": 1 - top_third,
    }
    facts: dict[str, Any] = {name: value for name, value in known.items() if value is not None}
    facts["seen"] = seen_text(1 - top_third if errors else None, val)
    facts["names"] = names_text(ledger.last("label.suspects", "val"))
    contradicted = 0.0 if val is None or sure is None or right is None or sure < 0.3 or right >= 0.93 else val
    # Above an error rate of 0.5 the model has not learnt the task.
    enough = samples is None or contradicted * samples >= MIN_CONTRADICTED
    if contradicted > 0.045 and enough and (not errors or 0.5 * errors < top_third < 0.5):
        yield Finding("data.label_noise", "warning", min(0.9, 0.6 + 2 * contradicted), "", facts)
    elif min(top_third, top_third_and_all_errors(ledger, "train")[0]) > max(0.08, 0.7 * errors):
        yield Finding("data.label_noise", "note", 0.7, "", facts)


def seen_text(top_third_correct: float | None, contradicted: float | None) -> Message:
    """Sentences on the predictions that the labels contradict."""
    third = message(
        "finding.data.label_noise.third",
        "Of the third of its validation predictions with the highest scores, {fraction:%} agree with the label",
        fraction=top_third_correct,
    )
    against = message(
        "finding.data.label_noise.contradicted",
        "{fraction:%} of the validation samples have a label to which the model gives a probability below 0.1, while it "
        "gives another class more than 0.8",
        fraction=contradicted,
    )
    if top_third_correct is None:
        return against
    return (
        message("finding.data.label_noise.both", "{third}; {against}", third=third, against=against)
        if contradicted
        else third
    )


def names_text(names: list[str] | None) -> Message | str:
    """Sentence with the samples that the model contradicts, "" if the trainer named none."""
    text = " Of the validation samples, look first at {names}."
    return message("finding.data.label_noise.names", text, names="; ".join(names)) if names else ""


def top_third_and_all_errors(ledger: Ledger, phase: str) -> tuple[float, float]:
    """Error rates of the top-scoring third of the predictions and of all, in the second half of the run.

    (0, 0) where none was measured.
    """
    epochs = len(ledger.values("loss.mean", phase))
    top_third = dict(zip(*ledger.series("label.top_third_accuracy", phase)))
    every = dict(zip(*ledger.series("accuracy.mean", phase)))
    late = [epoch for epoch in top_third if epoch in every and epoch > epochs / 2]
    if not late:
        return 0.0, 0.0
    return 1 - sum(top_third[epoch] for epoch in late) / len(late), 1 - sum(every[epoch] for epoch in late) / len(late)


SPEC = FindingSpec(
    code="data.label_noise",
    order=100,
    severities=(
        "warning",
        "note",
    ),
    rule=label_noise,
    words=Words(
        title="Many labels look wrong",
        cause="Labels contradict the model even where it is most confident. {seen}.{names}",
        fix=(
            "Inspect the samples that the model contradicts: many of them are mislabelled. Then train with "
            "label smoothing, and stop before the noise is memorised."
        ),
        snippet=(
            "model.eval()\n"
            "with torch.no_grad():\n"
            "    p = model(x_train).softmax(1)\n"
            "suspects = (p.gather(1, y_train[:, None])[:, 0] < 0.1) & (p.max(1).values > 0.8)\n"
            "print(suspects.nonzero()[:, 0].tolist())\n"
            "loss_fn = nn.CrossEntropyLoss(label_smoothing=0.1)"
        ),
    ),
    charts=(
        contradicted,
        pair(
            message(
                "doctor.chart.validation_top_third_of_the",
                "Validation: top-scoring third of the predictions, and all",
            ),
            message("doctor.chart.accuracy", "accuracy"),
            ("label.top_third_accuracy", "val", message("doctor.chart.top_third", "top-scoring third")),
            ("accuracy.mean", "val", message("doctor.chart.all", "all")),
            x="epoch",
            percent=True,
        ),
        epoch_accuracies,
    ),
    explains=(
        "model.too_small",
        "optim.slow_convergence",
        "fit.*",
        "model.too_large",
    ),
    needs=("label.confident[val]",),
    concerns=classifies,
    alone=True,
)

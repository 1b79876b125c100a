"""Finding loop.metric_wrong: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

from danlu.doctor.derived.applies import reports_metrics
from danlu.doctor.derived.labels import labels_places
from danlu.doctor.drawings.over_epochs import reported_and_correct
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

ACCURACY = message("finding.loop.metric_wrong.accuracy", "The accuracy")
MIN_GAP = 0.08  # of two accuracies
MIN_EPOCHS = 3
MIN_TIMES = 4  # as many scores as classes that are compared with labels
SAME_RATIO, MIN_RATIO = 0.005, 0.03  # of the accuracy told to the one seen: its variation, and its distance from 1


def metric_wrong(ledger: Ledger) -> Iterable[Finding]:
    """An accuracy reported by the loop differs from that of the predictions.

    Either it is the number of right predictions divided by another number than theirs, or it differs from the accuracy of
    the outputs and targets passed to the loss.

    Only where a sample has one label: accuracies of pixels or words may leave out some of them on purpose.
    """
    taken = _wrongly_taken(ledger)
    if taken:
        yield taken
        return
    size = list(_broadcast(ledger)) or list(_divided_by_another_number(ledger))
    if size:
        yield from size
        return
    if labels_places(ledger):
        return
    for metric in ledger.wheres("user.metric"):
        low = metric.lower()
        if not low.endswith(("acc", "accuracy")) or "top" in low or "bal" in low:
            continue
        phase = "val" if "val" in low or "test" in low else "train"
        told, seen = dict(zip(*ledger.series("user.metric", metric))), dict(zip(*ledger.series("accuracy.mean", phase)))
        epochs = sorted(told.keys() & seen.keys())
        if len(epochs) < MIN_EPOCHS or phase == "train":
            continue
        unit = 100 if max(told.values()) > 1.01 else 1
        late = epochs[len(epochs) // 3 :]
        gaps = [told[e] / unit - seen[e] for e in late]
        if min(map(abs, gaps)) < MIN_GAP or min(gaps) * max(gaps) < 0:
            continue
        facts = {"metric": metric, "told": told[late[-1]] / unit, "seen": seen[late[-1]], "epochs": len(late)}
        facts["why"] = message(
            "finding.loop.metric_wrong.loss",
            "The loop reported {metric} = {told}, while the outputs and labels given to the loss in validation have an accuracy of "
            "{seen}, in each of the last {epochs} epochs",
            **{name: facts[name] for name in ("metric", "told", "seen", "epochs")},
        )
        facts["fix"] = "one_output" if ledger.last("output.count") == 1 else "compare"
        facts["do"] = (
            message(
                "finding.loop.metric_wrong.one_output",
                "The model has one output, and argmax over one output is always 0. Compare it with 0 where it is a score, with "
                "0.5 where it is a probability.",
            )
            if ledger.last("output.count") == 1
            else message(
                "finding.loop.metric_wrong.compare",
                "Compute it on the outputs and labels of validation, and check the axis of argmax, shapes that broadcast, and "
                "predictions of an earlier epoch.",
            )
        )
        yield Finding("loop.metric_wrong", "warning", 0.9, metric, facts)
        return


def _wrongly_taken(ledger: Ledger) -> Finding | None:
    """Predictions that the loop takes from scores in a wrong way, in several evaluations."""
    half, across, scores = (ledger.values(f"accuracy.{how}", "val") for how in ("at_half", "across", "of_scores"))
    if len(across) >= MIN_EPOCHS:
        seen = message(
            "finding.loop.metric_wrong.across",
            "The predictions that are compared with the labels are the argmax of the outputs along axis 0: for each class the "
            "sample with the highest score, in place of the class for each sample",
        )
        do = message("finding.loop.metric_wrong.along", "Take the argmax along the classes: axis 1.")
        facts = {"count": sum(across), "why": seen, "do": do, "fix": "compare"}
    elif len(scores) >= MIN_EPOCHS and sum(scores) > MIN_TIMES * sum(ledger.values("epoch.compared", "val")):
        seen = message(
            "finding.loop.metric_wrong.of_scores",
            "The loop compares scores, which are no integers, with the labels, which are: of the {count:.0f} values compared in "
            "{epochs} evaluations hardly one can be equal to its label",
            count=sum(scores),
            epochs=len(scores),
        )
        do = message(
            "finding.loop.metric_wrong.indices",
            "Compare classes with the labels: argmax(dim=1), or the second of the two tensors that torch.max(outputs, 1) returns.",
        )
        facts = {"count": sum(scores), "why": seen, "do": do, "fix": "compare"}
    elif len(half) >= MIN_EPOCHS and ledger.last("loss.kind") == "bce_logits":
        seen = message(
            "finding.loop.metric_wrong.at_half",
            "The outputs are scores (logits) and are compared with 0.5, although a probability of 0.5 is a score of 0: "
            "{count:.0f} predictions in {epochs} evaluations differ",
            count=sum(half),
            epochs=len(half),
        )
        do = message("finding.loop.metric_wrong.at_zero", "Compare scores with 0, or their sigmoid with 0.5.")
        facts = {"count": sum(half), "why": seen, "do": do, "fix": "scores"}
    else:
        return None
    return Finding("loop.metric_wrong", "warning", 0.95, "", facts | {"metric": ACCURACY})


def _broadcast(ledger: Ledger) -> Iterable[Finding]:
    """Predictions and labels of shapes that broadcast: each prediction is compared with the labels of all samples."""
    shapes = ledger.last("accuracy.broadcast")
    if not shapes:
        return
    first, second, result = shapes
    facts = {"metric": ACCURACY, "first": first, "second": second, "result": result, "fix": "shapes"}
    facts["why"] = message(
        "finding.loop.metric_wrong.broadcast",
        "In validation the loop compares a tensor of shape {first} with one of shape {second}. They broadcast to {result}: "
        "each prediction is compared with the labels of all samples, and the sum is not the number of right predictions",
        first=first,
        second=second,
        result=result,
    )
    facts["do"] = message("finding.loop.metric_wrong.fix_shapes", "Give both the same shape before they are compared.")
    yield Finding("loop.metric_wrong", "warning", 0.95, "", facts)


def _divided_by_another_number(ledger: Ledger) -> Iterable[Finding]:
    """The accuracy told is always the same multiple of the fraction of predictions that the loop found right."""
    seen, sizes = (dict(zip(*ledger.series(name, "val"))) for name in ("accuracy.compared", "epoch.compared"))
    for metric in ledger.wheres("user.metric"):
        low = metric.lower()
        if not low.endswith(("acc", "accuracy")) or "top" in low or "bal" in low or "train" in low:
            continue
        told = dict(zip(*ledger.series("user.metric", metric)))
        epochs = sorted(e for e in told.keys() & seen.keys() if seen[e] > 0)
        if len(epochs) < MIN_EPOCHS or len({round(seen[e], 6) for e in epochs}) < MIN_EPOCHS:
            continue
        unit = 100 if fmean(told[e] / seen[e] for e in epochs) > 10 else 1  # in percent
        ratios = [told[e] / unit / seen[e] for e in epochs]
        ratio = fmean(ratios)
        if max(ratios) - min(ratios) > SAME_RATIO * ratio or abs(ratio - 1) < MIN_RATIO:
            continue
        count = sizes[epochs[-1]]
        facts = {"metric": metric, "told": told[epochs[-1]] / unit, "seen": seen[epochs[-1]], "epochs": len(epochs)}
        facts |= {"count": count, "divisor": round(count / ratio), "fix": "size"}
        facts["why"] = message(
            "finding.loop.metric_wrong.size",
            "The loop compared {count} predictions with labels and found {seen:%} of them right, but reported {metric} = {told}. In "
            "each of {epochs} epochs that is the number of right predictions divided by {divisor}",
            **{name: facts[name] for name in ("count", "seen", "metric", "told", "epochs", "divisor")},
        )
        facts["do"] = message(
            "finding.loop.metric_wrong.divide",
            "Divide by the number of predictions that were compared, not by the size of another split, the number of batches or a "
            "batch size.",
        )
        yield Finding("loop.metric_wrong", "warning", 0.95, metric, facts)
        return


def sees_predictions(ledger: Ledger) -> bool:
    """Return whether the number of right predictions in validation is known."""
    return ledger.has("accuracy.mean", "val") or ledger.has("accuracy.compared", "val")


SPEC = FindingSpec(
    code="loop.metric_wrong",
    order=305,
    severities=("warning",),
    rule=metric_wrong,
    words=Words(
        title="{metric} does not fit the predictions",
        cause="{why}. The metric is computed wrongly.",
        fix="{do}",
        snippet={
            "one_output": ("correct = (outputs[:, 0] > 0) == (y == 1)\naccuracy = correct.float().mean().item()"),
            "shapes": "right = (outputs.argmax(1) == y.view(-1)).sum().item()",
            "scores": "accuracy = ((outputs[:, 0] > 0) == (y == 1)).float().mean().item()",
            "size": "right = (outputs.argmax(1) == y).sum().item()\naccuracy = right / len(y)",
            "compare": "accuracy = (outputs.argmax(1) == y).float().mean().item()",
        },
    ),
    charts=(reported_and_correct,),
    explains=("fit.*",),
    needs=("loss.step",),
    concerns=lambda ledger: (
        ledger.has("accuracy.broadcast")
        or _wrongly_taken(ledger) is not None
        or (reports_metrics(ledger) and sees_predictions(ledger))
    ),
    alone=True,
)

"""Finding loop.stale_evaluation: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby, pairwise
from statistics import fmean

from danlu.doctor.derived.labels import late_accuracy
from danlu.doctor.derived.progress import accuracies, chance_loss, loss_blocks
from danlu.doctor.drawings.over_time import loss_and_chance
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.message import Message

MIN_EVALUATIONS = 3
LEARNT = 0.8  # of the first training loss; below it the weights have changed enough to be seen in any evaluation
EXACT = 1e-6  # relative range of figures that are the same up to rounding
# Fractions of the loss at chance level: of a copy that follows too slowly, and of the trained model.
MIN_OF_COPY, MAX_OF_COPY, MAX_OF_MODEL = 0.85, 1.2, 0.5
NEVER = message("finding.loop.stale_evaluation.never", "The evaluated weights are never updated")
HARDLY = message("finding.loop.stale_evaluation.hardly", "The evaluated weights follow the trained ones too slowly")
UPDATE = message(
    "finding.loop.stale_evaluation.update",
    "Evaluate the model that is trained, or update the copy after each step of the optimiser, as AveragedModel does.",
)
FASTER = message(
    "finding.loop.stale_evaluation.faster",
    "Use a smaller decay, such as 0.99 for hundreds of steps (an average with decay d covers about 1 / (1 - d) steps), or "
    "raise it during the training: min(0.999, (1 + step) / (10 + step)).",
)
MIN_GAP = 0.2  # of a constant accuracy below that of training; a small validation set may give the same accuracy twice


def stale_evaluation(ledger: Ledger) -> Iterable[Finding]:
    """A figure of the evaluation is exactly the same each time while the training loss falls: other weights are evaluated."""
    blocks = loss_blocks(ledger)
    if len(blocks) < 2 or not all(map(math.isfinite, blocks)) or blocks[-1] > LEARNT * blocks[0] or blocks[0] <= 0:
        return
    found = next((one for one in evaluations(ledger) if is_constant(one[1])), None)
    if found is not None:
        what, values = found
        facts = {"what": what, "value": values[-1], "times": len(values), "first": blocks[0], "late": blocks[-1]}
        seen = message(
            "finding.loop.stale_evaluation.constant",
            "{what} was exactly {value} in each of {times} evaluations, while the training loss fell from {first} to {late}. So "
            "another model is evaluated, such as a copy or an average of the weights (EMA) that is never updated, or the figure "
            "does not depend on the predictions.",
            **facts,
        )
        facts |= {"seen": seen, "problem": NEVER, "do": UPDATE, "fix": "update"}
        yield Finding("loop.stale_evaluation", "error", 0.9, "", facts)
        return
    values, chance = losses_of_others(ledger), chance_loss(ledger)
    if chance and not ledger.has("loss.mean", "val") and follows_too_slowly(values, blocks[-1], chance):
        facts = {"value": values[-1], "times": len(values), "late": blocks[-1], "chance": chance}
        seen = message(
            "finding.loop.stale_evaluation.slow",
            "The training loss is down to {late}, but the loss computed without gradients, of other weights, is still {value} "
            "after {times} evaluations, near chance level ({chance}). An average of the weights (EMA) whose decay is too near 1 "
            "still consists of the initial weights.",
            **facts,
        )
        facts |= {"seen": seen, "problem": HARDLY, "do": FASTER, "fix": "faster"}
        yield Finding("loop.stale_evaluation", "error", 0.85, "", facts)


def follows_too_slowly(values: list[float], trained: float, chance: float) -> bool:
    """Return whether a loss of other weights falls steadily and stays near chance level, which training left long ago."""
    if len(values) < MIN_EVALUATIONS or not all(map(math.isfinite, values)) or trained > MAX_OF_MODEL * chance:
        return False
    near = MIN_OF_COPY * chance < values[-1] and values[0] < MAX_OF_COPY * chance
    return near and all(after < before for before, after in pairwise(values))


def losses_of_others(ledger: Ledger) -> list[float]:
    """Mean loss of each evaluation whose losses are not computed from the outputs of the watched model."""
    by_step = groupby(zip(*ledger.series("loss.of_others")), key=lambda pair: pair[0])
    return [fmean(loss for _, loss in group) for _, group in by_step]


def evaluations(ledger: Ledger) -> Iterable[tuple[Message | str, list[float]]]:
    """Names and values of the figures of the evaluation that the outputs of the watched model do not explain."""
    yield message("finding.loop.stale_evaluation.loss", "The loss computed without gradients"), losses_of_others(ledger)
    if ledger.has("loss.mean", "val") or ledger.has("accuracy.mean", "val"):
        return  # of the watched model
    fitted = late_accuracy(ledger, "train")
    for metric in ledger.wheres("user.metric"):
        values, low = ledger.values("user.metric", metric), metric.lower()
        if ("loss" in low and "train" not in low) or (
            fitted is not None and max(values) < fitted - MIN_GAP and metric_is_of_validation(ledger, metric)
        ):
            yield metric, values


def metric_is_of_validation(ledger: Ledger, metric: str) -> bool:
    """Return whether a figure that the loop reported is an accuracy, and not that of training."""
    told = ledger.values("user.metric", metric)
    return "acc" in metric.lower() and list(accuracies(ledger, "val").values())[-1:] == told[-1:]


def is_constant(values: list[float]) -> bool:
    """Return whether figures are the same each time, up to rounding."""
    if len(values) < MIN_EVALUATIONS or not all(map(math.isfinite, values)):
        return False
    return max(values) > 0 and max(values) - min(values) <= EXACT * max(values)


SPEC = FindingSpec(
    code="loop.stale_evaluation",
    order=306,
    severities=("error",),
    rule=stale_evaluation,
    words=Words(
        title="{problem}",
        cause="{seen}",
        fix="{do}",
        snippet={
            "update": "ema = torch.optim.swa_utils.AveragedModel(model)\nema.update_parameters(model)  # after optimizer.step()",
            "faster": (
                "average = torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)\n"
                "ema = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=average)\n"
                "ema.update_parameters(model)  # after optimizer.step()"
            ),
        },
    ),
    charts=(loss_and_chance,),
    explains=("fit.*", "loop.metric_wrong"),
    needs=("loss.step",),
    concerns=lambda ledger: ledger.has("loss.of_others") or ledger.has("user.metric"),
)

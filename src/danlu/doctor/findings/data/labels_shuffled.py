"""Finding data.labels_shuffled: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from danlu.doctor.derived.dense import agreement_of, fit_of
from danlu.doctor.derived.labels import (
    balanced_accuracy,
    chance_accuracy,
    highest_accuracy,
    late_accuracy,
    late_mean,
    mean_rows,
)
from danlu.doctor.derived.learning import final_skill
from danlu.doctor.derived.progress import accuracies, skills, steps_taken
from danlu.doctor.derived.updates import first_update, steps_are_short
from danlu.doctor.drawings.over_epochs import epoch_accuracies, epoch_losses
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MAX_SKILL = 0.15  # of the training loss: more is hardly memorised in so few steps
MIN_STEPS = 200
MIN_STEPS_RECURRENT = 300  # sequences that are near each other need not have the same label, and are learnt slowly
MAX_EXPLAINED = 0.03  # of the variance of the training targets, without validation
MIN_RECALL_GAIN = 0.15  # of the mean recall of the classes over that of outputs independent of the inputs
MAX_GAIN = 0.03  # of that accuracy over chance level
MIN_COMPARED = 50  # predictions that the loop compares with labels, whose accuracy is judged
MIN_SAMPLES = 20  # validation samples; fewer may all be of one class, or wrong by chance
HASTY_UPDATE = 0.1  # of the weights, by each of the first steps: such steps need not generalise
IMPROVING_EPOCHS, MIN_FALL = 4, 0.003  # epochs, each of which lowers the validation loss by a fraction
MEMORISED = 0.5  # of the loss at chance level, which steps of a usual length explain of shuffled labels
MIN_TRAIN_GAIN, MAX_VAL_GAIN = 0.08, 0.06  # of the accuracies of both splits over chance level
MIN_FIT, MAX_HELD_EXPLAINED = 0.15, 0.03  # of the variance of the targets of training and validation
MIN_EPOCHS = 5
MIN_STEPS_DENSE = 120
MAX_DENSE_FIT, MAX_DENSE_AGREEMENT = 0.1, 0.15  # correlations of targets per pixel with their images and outputs
MIN_STEPS_VALIDATED = 60  # training steps, where validation accuracies are known


def labels_shuffled(ledger: Ledger) -> Iterable[Finding]:
    """Labels that do not depend on the inputs (Zhang et al. 2017).

    Either training memorises while validation stays at chance level, or both stay there and neighbouring samples have
    unrelated labels.
    """
    if (found := _by_pixels(ledger)) is not None:
        yield found
        return
    kin, noise = kinship(ledger)
    if kin > max(0.15, 4 * noise):
        return  # neighbours share labels
    recall, classes = balanced_accuracy(ledger, "val"), len(mean_rows(ledger.values("class.correct", "val")))
    if recall is not None and recall > 1 / classes + MIN_RECALL_GAIN:
        return  # the classes are distinguished, whatever the accuracy, as with a weighted loss
    unrelated = noise < 0.08 and kin < 2 * noise
    held, held_losses = late_accuracy(ledger, "val"), ledger.values("loss.mean", "val")
    fitted, losses = late_accuracy(ledger, "train"), ledger.values("loss.mean", "train")
    skill, fit = final_skill(ledger), late_mean(ledger, "explained.mean", "train")
    explained = ledger.values("explained.mean", "val")
    facts = _neighbour_facts(kin, noise)
    # Accuracies that the loop reports may be computed wrongly: without validation losses the labels must be unrelated.
    judged = len(held_losses) >= 2 or (unrelated and not held_losses)
    if fitted is not None and held is not None and len(losses) >= 2 and judged:
        yield from _by_accuracy(ledger, fitted, held, unrelated, facts)
    elif held is None and not held_losses and unrelated and skill is not None and fitted is not None:
        yield from _without_validation(ledger, skill, facts)
    elif not held_losses and not explained and unrelated and skill is not None and fit is not None:
        if max(skill, fit) < MAX_EXPLAINED and steps_taken(ledger) >= _min_steps(ledger):
            course = message(
                "finding.data.labels_shuffled.unexplained",
                "After {steps} steps the model explains {train:%} of the variance of the training targets",
                steps=steps_taken(ledger),
                train=max(0.0, fit),
            )
            facts |= {"train": fit, "steps": steps_taken(ledger), "course": course}
            yield Finding("data.labels_shuffled", "warning", 0.6, "", facts)
    elif explained and fit is not None and max(explained) < MAX_HELD_EXPLAINED:
        yield from _by_variance(ledger, fit, explained, unrelated, facts)


def _by_pixels(ledger: Ledger) -> Finding | None:
    """Finding on targets per pixel that depend neither on the pixels of their images nor on trained outputs for them."""
    fit, agreement = fit_of(ledger, "own"), agreement_of(ledger, "own")
    if fit is None or agreement is None or steps_taken(ledger) < MIN_STEPS_DENSE or steps_are_short(ledger):
        return None
    if fit.high >= MAX_DENSE_FIT or agreement.high >= MAX_DENSE_AGREEMENT:
        return None
    facts = {"outputs": agreement.mean, "pixels": fit.mean, "steps": steps_taken(ledger)}
    course = message(
        "finding.data.labels_shuffled.pixels",
        "After {steps} steps the correlation of outputs and targets is {outputs}, without the average image; that of the "
        "pixels and targets at the same position is {pixels} (1: always)",
        **facts,
    )
    return Finding("data.labels_shuffled", "warning", 0.75, "", facts | {"course": course, "neighbours": ""})


def _by_accuracy(
    ledger: Ledger, fitted: float, held: float, unrelated: bool, evidence: dict[str, Any]
) -> Iterator[Finding]:
    """Classes whose accuracy in validation stays at chance level. fitted, held: late accuracies of both splits."""
    losses, held_losses = (ledger.values("loss.mean", phase) for phase in ("train", "val"))
    best, chance = max(accuracies(ledger, "val").values()), chance_accuracy(ledger)
    if best >= chance + MAX_VAL_GAIN:
        return
    facts = _course({"train": fitted, "val": held, "best": best, "chance": chance} | evidence)
    # On few validation samples an accuracy at chance level may be chance itself.
    enough = ledger.last("epoch.samples", "val", MIN_SAMPLES) >= MIN_SAMPLES
    apart = enough and fitted > max(chance + MIN_TRAIN_GAIN, highest_accuracy(ledger, best))
    learning = losses[-1] < 0.97 * losses[0]
    worse = not held_losses or held_losses[-1] > min(held_losses) * 1.02
    if apart and learning and worse:
        hasty = first_update(ledger) > HASTY_UPDATE and (skills(ledger, "train") or [0.0])[-1] < MEMORISED
        severity, confidence = ("warning", 0.6) if hasty else ("error", 0.85)
        yield Finding("data.labels_shuffled", severity, confidence, "", facts)
        return
    late = len(losses) >= MIN_EPOCHS and steps_taken(ledger) >= MIN_STEPS_VALIDATED
    if unrelated and late and not steps_are_short(ledger) and not _improves(held_losses):
        yield Finding("data.labels_shuffled", "warning", 0.7, "", facts)


def _without_validation(ledger: Ledger, skill: float, facts: dict[str, Any]) -> Iterator[Finding]:
    """Classes of a loop that shows no validation, or only compares predictions with labels. skill: of training."""
    chance, compared = chance_accuracy(ledger), _compared_accuracy(ledger)
    if skill > MAX_SKILL and compared is not None and compared < chance + MAX_GAIN:
        course = message(
            "finding.data.labels_shuffled.compared",
            "The training loss fell {train:%} below chance level, but {val:%} of the predictions that the loop "
            "compares with labels are right (chance level is {chance:%})",
            train=skill,
            val=compared,
            chance=chance,
        )
        facts |= {"train": skill, "val": compared, "chance": chance, "course": course}
        yield Finding("data.labels_shuffled", "error", 0.8, "", facts)
    elif skill < MAX_SKILL and not steps_are_short(ledger) and steps_taken(ledger) >= _min_steps(ledger):
        course = message(
            "finding.data.labels_shuffled.no_validation",
            "After {steps} steps the training loss is only {train:%} below the loss at chance level",
            steps=steps_taken(ledger),
            train=max(0.0, skill),
        )
        facts |= {"train": skill, "steps": steps_taken(ledger), "course": course}
        yield Finding("data.labels_shuffled", "warning", 0.6, "", facts)


def _by_variance(
    ledger: Ledger, fit: float, explained: Sequence[float], unrelated: bool, facts: dict[str, Any]
) -> Iterator[Finding]:
    """Numbers of which validation explains nothing. fit, explained: fraction of the variance, of both splits."""
    course = message(
        "finding.data.labels_shuffled.regression",
        "The model explains {train:%} of the variance of the training targets, and at best {best:%} of those of validation",
        train=max(0.0, fit),
        best=max(0.0, *explained),
    )
    facts |= {"train": fit, "val": explained[-1], "best": max(explained), "chance": 0.0, "course": course}
    if fit > MIN_FIT:
        yield Finding("data.labels_shuffled", "error", 0.75, "", facts)
    elif unrelated and len(ledger.values("loss.mean", "train")) >= MIN_EPOCHS and not steps_are_short(ledger):
        yield Finding("data.labels_shuffled", "warning", 0.7, "", facts)


def _compared_accuracy(ledger: Ledger) -> float | None:
    """Highest accuracy of the predictions that the loop compared with labels in validation; None for few samples."""
    sizes, found = ledger.values("epoch.compared", "val"), ledger.values("accuracy.compared", "val")
    return max(found) if found and min(sizes) >= MIN_COMPARED else None


def _improves(losses: list[float]) -> bool:
    """Return whether the validation loss fell until the end: it is not known yet where it will end."""
    return len(losses) > IMPROVING_EPOCHS and all(
        after < before * (1 - MIN_FALL) for before, after in pairwise(losses[-IMPROVING_EPOCHS - 1 :])
    )


def _min_steps(ledger: Ledger) -> int:
    """Training steps after which a loss at chance level is judged without validation."""
    return MIN_STEPS_RECURRENT if ledger.facts("layer.recurrent") else MIN_STEPS


def _course(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts, with the sentence that compares training and validation."""
    text = "Training accuracy is {train:%}, validation accuracy {val:%} (at best {best:%}; chance level is {chance:%})"
    numbers = {name: facts[name] for name in ("train", "val", "best", "chance")}
    return facts | {"course": message("finding.data.labels_shuffled.validation", text, **numbers)}


def _neighbour_facts(kin: float, noise: float) -> dict[str, Any]:
    """Evidence on the labels of neighbouring inputs; none where their agreement was not measured."""
    if not math.isfinite(noise):
        return {"neighbours": ""}
    text = " Inputs that are nearest to each other agree in their labels no more than by chance ({kinship}; 1: always)."
    return {"kinship": kin, "neighbours": message("finding.data.labels_shuffled.neighbours", text, kinship=kin)}


def kinship(ledger: Ledger) -> tuple[float, float]:
    """Similarity of neighbours' labels over all measured batches, and its standard deviation by chance.

    The deviation is infinite if none was measured.
    """
    found = [v for v in ledger.values("label.kinship") if math.isfinite(v)]
    noise = [v for v in ledger.values("label.kinship_chance") if math.isfinite(v)]
    if not found or len(found) != len(noise):
        return 0.0, math.inf
    return sum(found) / len(found), math.sqrt(sum(v * v for v in noise)) / len(noise)


SPEC = FindingSpec(
    code="data.labels_shuffled",
    order=110,
    severities=(
        "error",
        "warning",
    ),
    rule=labels_shuffled,
    words=Words(
        title="Labels do not depend on the inputs",
        cause=(
            "{course}. So the inputs tell nothing about the labels, and the model can at best memorise the "
            "training samples.{neighbours}"
        ),
        fix=(
            "Check that inputs and labels are still in the same order: shuffle or sort them together, join "
            "tables by key and not by row, and look at ten samples with their labels."
        ),
        snippet=("order = torch.randperm(len(x_train))\nx_train, y_train = x_train[order], y_train[order]"),
    ),
    charts=(
        epoch_accuracies,
        epoch_losses,
    ),
    explains=(
        "model.too_small",
        "fit.*",
        "data.label_noise",
        "data.imbalance",
        "optim.*",
        "model.too_large",
        "data.duplicates",
    ),
    needs=("loss.step",),
    alone=True,
)

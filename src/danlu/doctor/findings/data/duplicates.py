"""Finding data.duplicates: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean
from typing import Any

from danlu.doctor.derived.input_statistics import are_tokens, is_number_of_item, reevaluates_batches, repeated_by_chance
from danlu.doctor.derived.labels import mean_rows
from danlu.doctor.derived.learning import final_skill
from danlu.doctor.derived.noise import batch_size
from danlu.doctor.derived.progress import has_even_epochs, loss_blocks, steps_taken
from danlu.doctor.drawings.over_time import series
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import TRAINING
from danlu.message import Message

MIN_STEPS = 50  # training steps on one batch; fewer may be a test that the model can memorise it
MIN_DISTINCT = 17  # samples; rows of a few binary columns are no more than 16 different ones
MIN_BATCH, MAX_BATCH = 8, 64  # usual batch sizes; any other one batch may be the whole training set
CONFLICTS = 0.005  # of the samples, with different labels
EPISODE_LABEL_CHANGES, LEARNT_SKILL = 0.45, 0.5  # fraction of repeats with another label, and the skill nevertheless
COMPLETE = 0.98  # of the samples of the first epoch
MIN_REPEATED_FRACTION = 0.05  # of the samples of an epoch, which had already occurred in it
MIN_EXPECTED_REPEATS = 5.0
MIN_BALANCE = 0.8  # of the least frequent class to the most frequent one, for classes that are balanced
MIN_ROUNDS = 3.0  # samples of an epoch over the distinct ones; copies alone would have to be two thirds of the data
NEW = 1.03  # distinct samples after all epochs over those of the first
REPEATED = message("finding.data.duplicates.repeated", "Samples occur more than once")
DROP = message(
    "finding.data.duplicates.drop",
    "Drop the copies, and inspect those with different labels. A sampler that draws with replacement on purpose is not a "
    "fault.",
)


def duplicates(ledger: Ledger) -> Iterable[Finding]:
    """Samples that occur more than once in an epoch, or with different labels."""
    few = _sampled_few(ledger)
    if few is not None:
        yield few
        return
    if reevaluates_batches(ledger) or is_number_of_item(ledger):
        return
    same = list(_same_batch(ledger))
    if same or not has_even_epochs(ledger):
        yield from same
        return
    conflicts, hashed = ledger.last("input.label_conflicts", default=0), ledger.last("input.hashed", "train", 0)
    if conflicts <= CONFLICTS * hashed and is_drawn_with_replacement(ledger):
        return
    known_epochs = (
        ledger.last("run.epoch_by", default="") != "none"
    )  # otherwise the whole run is one epoch, and all samples repeat
    repeated = ledger.values("input.repeated", "train") if known_epochs else []
    # Copies repeat in each epoch; samples carried over from the last batch of an epoch need not.
    repeated_fraction = fmean(repeated) if repeated and not _is_second_pass(ledger) else 0.0
    if _goes_round(ledger) or repeated_fraction <= repeated_by_chance(ledger):
        repeated_fraction = 0.0
    facts: dict[str, Any] = {
        "repeated": repeated_fraction,
        "conflicts": int(conflicts),
        "seen": hashed,
        "what": REPEATED,
        "fix": "copies",
    }
    facts["problem"] = message(
        "finding.data.duplicates.in_epoch",
        "{repeated:%} of the training samples checked in an epoch had already occurred in the same epoch, and {conflicts} "
        "identical samples came with different labels. Repeated samples weigh too much, and contradictory labels cannot be "
        "learnt.",
        repeated=repeated_fraction,
        conflicts=int(conflicts),
    )
    facts["do"] = DROP
    facts["names"] = names_text(ledger.last("input.copies"))
    if ledger.last("input.label_changes", default=0.0) > EPISODE_LABEL_CHANGES and _is_learnt(ledger):
        return  # the labels are numbers of an episode, as in few-shot tasks
    if conflicts >= 2 and conflicts > CONFLICTS * hashed:
        yield Finding("data.duplicates", "warning", 0.85, TRAINING, facts)
    elif repeated_fraction > MIN_REPEATED_FRACTION:
        tokens = are_tokens(ledger)  # windows of a text, which repeats itself
        meant = tokens or is_oversampled(ledger) or is_balanced_alone(ledger)
        yield Finding("data.duplicates", "note" if meant else "warning", 0.75, TRAINING, facts)


def is_balanced_alone(ledger: Ledger) -> bool:
    """Return whether the classes are equally frequent in training and not in validation: rare ones were repeated."""
    train, val = (mean_rows(ledger.values("class.actual", phase)) for phase in ("train", "val"))
    if len(train) != len(val) or len(train) < 2:
        return False
    return min(train) > MIN_BALANCE * max(train) and min(val) < MIN_BALANCE * max(val)


def is_oversampled(ledger: Ledger) -> bool:
    """Return whether the copies are those of rare classes, which they make as frequent as the others."""
    distinct, seen = ledger.last("input.class_samples"), mean_rows(ledger.values("class.actual", "train"))
    if not distinct or len(distinct) != len(seen) or min(distinct) == 0 or min(seen) == 0:
        return False
    drawn = [fraction / count for fraction, count in zip(seen, distinct)]  # how often a sample of the class is drawn
    commonest = max(range(len(distinct)), key=distinct.__getitem__)
    balanced = min(seen) > MIN_BALANCE * max(seen) and min(distinct) < MIN_BALANCE * max(distinct)
    return balanced and drawn[commonest] <= min(drawn) * NEW


def _is_learnt(ledger: Ledger) -> bool:
    """Return whether the training loss fell far below chance level or, where that is not known, its start."""
    skill, blocks = final_skill(ledger), loss_blocks(ledger)
    fallen = 1 - blocks[-1] / blocks[0] if blocks and blocks[0] > 0 else 0.0
    return (fallen if skill is None else skill) >= LEARNT_SKILL


def _is_second_pass(ledger: Ledger) -> bool:
    """Return whether repeats come from validating less often than once per pass over the data.

    With copies among n samples, a fraction s of them, s m^2 / n repeats are expected among the first m; here there is none.
    """
    if ledger.last("run.epoch_by") != "validation":
        return False
    before, seen = ledger.first("input.before_repeat", default=0), ledger.first("input.hashed", "train", 0)
    return bool(seen) and MIN_REPEATED_FRACTION * before**2 / seen > MIN_EXPECTED_REPEATS


def _goes_round(ledger: Ledger) -> bool:
    """Return whether a loop that draws its batches itself validates only after several times its distinct samples."""
    if ledger.last("run.epoch_by") != "validation" or ledger.has("loader.samples"):
        return False
    samples = ledger.values("epoch.samples", "train")
    return bool(samples) and fmean(samples) >= MIN_ROUNDS * ledger.last("input.hashed", "train", 0)


def is_drawn_with_replacement(ledger: Ledger) -> bool:
    """Return whether the sampler draws with replacement, or later epochs hold samples that the first did not."""
    if ledger.last("loader.replacement"):
        return True
    seen = ledger.values("input.hashed", "train")
    checked, samples = (ledger.first(f"{name}.samples", "train", 0) for name in ("input", "epoch"))
    return len(seen) > 1 and checked >= COMPLETE * samples and seen[-1] > NEW * seen[0]


def names_text(names: list[str] | None) -> Message | str:
    """Sentence with pairs of equal samples, "" if the trainer named none."""
    text = " For example: {names}."
    return message("finding.data.duplicates.names", text, names="; ".join(names)) if names else ""


def _sampled_few(ledger: Ledger) -> Finding | None:
    """Finding on a sampler with fewer weights than there are samples: it draws from the first ones alone."""
    weights, loaded = ledger.last("loader.weights", default=0), ledger.last("loader.samples", default=0)
    if not 0 < weights < loaded:
        return None
    facts: dict[str, Any] = {"repeated": 1.0, "weights": weights, "loaded": loaded, "fix": "weights", "names": ""}
    facts["what"] = message("finding.data.duplicates.few", "Only the first samples are used")
    facts["problem"] = message(
        "finding.data.duplicates.weights",
        "The sampler of the training DataLoader has {weights} weights for {loaded} samples, so that it draws from the first "
        "{weights} samples alone, again and again.",
        weights=weights,
        loaded=loaded,
    )
    facts["do"] = message(
        "finding.data.duplicates.each",
        "Give WeightedRandomSampler one weight for each sample, that of its class, and not one for each class.",
    )
    return Finding("data.duplicates", "error", 0.98, TRAINING, facts)


def _same_batch(ledger: Ledger) -> Iterable[Finding]:
    """Every step trains on one and the same batch, which is not the whole training set."""
    seen, steps, size = ledger.last("input.hashed", "train", 0), steps_taken(ledger), batch_size(ledger)
    loaded = ledger.last("loader.samples", default=0)
    least = MIN_BATCH if size and loaded > size else MIN_DISTINCT
    if not size or not max(least, 0.8 * size) <= seen <= size or steps < MIN_STEPS:
        return  # fewer distinct samples than a batch holds are copies, as of the four rows of XOR
    whole = loaded <= size if loaded else not MIN_BATCH <= size <= MAX_BATCH
    if whole:
        return
    facts: dict[str, Any] = {
        "repeated": 1.0,
        "seen": seen,
        "steps": steps,
        "loaded": loaded,
        "fix": "same",
        "names": "",
    }
    facts["what"] = message("finding.data.duplicates.same", "Every step uses the same batch")
    facts["problem"] = message(
        "finding.data.duplicates.one_batch",
        "All {steps} training steps used the same {seen} samples, so that the model can only memorise these.",
        steps=steps,
        seen=int(seen),
    )
    facts["do"] = message(
        "finding.data.duplicates.draw",
        "Draw a new batch in each step: next(iter(loader)) without shuffle=True, a seed set inside the loop, or a variable "
        "from outside the loop give the same one again.",
    )
    yield Finding("data.duplicates", "error" if loaded else "note", 0.95, TRAINING, facts)


SPEC = FindingSpec(
    code="data.duplicates",
    order=20,
    severities=(
        "error",
        "warning",
        "note",
    ),
    rule=duplicates,
    words=Words(
        title="{what}",
        cause="{problem}{names}",
        fix="{do}",
        snippet={
            "copies": (
                "_, first = np.unique(x_train.flatten(1).numpy(), axis=0, return_index=True)\n"
                "x_train, y_train = x_train[np.sort(first)], y_train[np.sort(first)]"
            ),
            "weights": (
                "counts = torch.bincount(y_train).clamp(min=1)\n"
                "sampler = torch.utils.data.WeightedRandomSampler((1 / counts)[y_train], len(y_train))"
            ),
            "same": "for x, y in loader:\n    loss = loss_fn(model(x), y)",
        },
    ),
    before_training=Words(
        title="Images occur more than once",
        cause=(
            "{pairs} pairs are (nearly) identical ({fraction:%} of the samples have a duplicate), {conflicts} of them "
            "with "
            "different labels. For example: {names}."
        ),
        fix="Delete the copies, and inspect those with different labels: one of each pair is wrong.",
    ),
    charts=(
        series(
            message("doctor.chart.samples_that_came_before_in", "Samples that came before in the same epoch"),
            message("doctor.chart.fraction", "fraction"),
            "input.repeated",
            x="epoch",
            where="train",
            percent=True,
        ),
    ),
    explains=("data.labels_missing", "fit.*"),
    needs=("input.repeated[train]",),
    alone=True,
)

"""Finding loop.wrong_sign: rule, wording and chart."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from itertools import pairwise
from statistics import fmean
from typing import Any

from danlu.doctor.derived.progress import loss_blocks
from danlu.doctor.derived.several_models import is_one_of_several
from danlu.doctor.drawings.over_time import loss_and_chance
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

# Losses that are best at their minimum; a reward or a critic's score may be maximised.
MINIMISED = (
    *("cross_entropy", "nll", "bce", "bce_logits", "hinge", "kl"),
    *("mse", "half_mse", "l1", "smooth_l1", "huber", "triplet"),
)

BLOCKS, MIN_BLOCKS = 10, 6  # intervals of the steps, and those before the loss is no number any more
MIN_DEPTH, BOTTOMLESS = 30.0, 1e5  # below 0, in sizes of the loss at the start: while it speeds up, or at all
MIN_SPEED = 2.0  # of the last falls, in those at the start
MAX_COSINE = -0.4  # of the change of the loss, for a cosine that went from about 0 towards -1
MIN_EPOCHS = 5  # of a metric that the loop reports
MIN_FALLING = 0.85  # of all pairs of epochs, with the lower value in the later one
MIN_LOSS_OF_METRIC = 0.4  # of its first value
# Words in the names of metrics that are better when they are higher.
GOOD = {
    *("acc", "accuracy", "iou", "miou", "dice", "f1", "auc", "map", "r2", "precision", "recall"),
    *("reward", "rewards", "return", "returns", "score", "success", "psnr", "ssim", "bleu"),
}

ALIGN = message("finding.loop.wrong_sign.align", "Minimise 1 - cosine, which is 0 where outputs and targets agree.")
COMPLEMENT = message("finding.loop.wrong_sign.complement", "Minimise 1 - overlap.")
BOUND = message(
    "finding.loop.wrong_sign.bound",
    "Print each term of the loss: the one that runs away has the wrong sign, as a KL divergence, which is never negative, or "
    "a log-likelihood that should be negated.",
)
TURN = message(
    "finding.loop.wrong_sign.turn",
    "Put a minus before this term: for a reward or a likelihood, minimise its negative (REINFORCE: "
    "-(log_prob * advantage).mean()).",
)
REMOVE = message(
    "finding.loop.wrong_sign.remove",
    "Remove the minus sign. To maximise on purpose, give the optimiser maximize=True.",
)
MIN_REVERSED = 4.0  # standard errors by which pulled pairs are farther apart at the start
STILL_REVERSED = 0.95  # of the distance of pushed pairs, for that of pulled ones at the end
EARLY_MEASUREMENTS, MIN_MEASUREMENTS = 8, 16
MIN_PASSES, MIN_HELPING = 8, 0.9  # measured passes through a discriminator, and the fraction whose gradient helps it

PAIRS = message(
    "finding.loop.wrong_sign.pairs_do",
    "Check which pairs are alike: nn.TripletMarginLoss takes (anchor, positive, negative), and in a contrastive loss the squared "
    "distance counts for pairs of one class, the margin for pairs of two. Where the hardest pairs are chosen on purpose, start with "
    "random ones.",
)
DECEIVE = message(
    "finding.loop.wrong_sign.deceive",
    "In the generator's step give generated samples the label of real ones, so that it learns to deceive the discriminator.",
)
ADD = message("finding.loop.wrong_sign.add", "Minimise the negative log-likelihood.")


def wrong_sign(ledger: Ledger) -> Iterable[Finding]:
    """A loss gets a negative gradient from backward(), and grows; or what should grow is minimised.

    The latter are losses written by hand: a log-likelihood, a cosine, a term without a lower limit, a reward.
    """
    scales = [scale for scale in ledger.values("loss.scale") if math.isfinite(scale)]
    losses = [loss for loss in ledger.values("loss.step") if math.isfinite(loss)]
    if len(losses) < 10:
        return
    start, end = fmean(losses[:3]), fmean(losses[-max(3, len(losses) // 10) :])
    facts: dict[str, Any] = {"start": start, "end": end}
    if len(scales) >= 3 and max(scales) < 0 and ledger.last("loss.kind") in MINIMISED and end > start:
        facts |= {"scale": scales[-1], "measured": len(scales), "fix": "minus", "do": REMOVE}
        facts["seen"] = message(
            "finding.loop.wrong_sign.negative",
            "backward() runs on {scale} times the loss, so that every step increases it: it went from {start} to {end}.",
            scale=scales[-1],
            start=start,
            end=end,
        )
        yield Finding("loop.wrong_sign", "error", 0.97, "", facts)
    elif _minimises_likelihood(ledger, start, end):
        facts |= {"fix": "likelihood", "do": ADD}
        facts["seen"] = message(
            "finding.loop.wrong_sign.likelihood",
            "The loss is the mean log-probability of the labels, which is at most 0, without a minus: it fell from {start} to "
            "{end}, so that each step makes the right classes less probable.",
            start=start,
            end=end,
        )
        yield Finding("loop.wrong_sign", "error", 0.9, "", facts)
    elif ledger.last("loss.cosine_sign") == 1 and end < MAX_COSINE * abs(start - end):
        facts |= {"fix": "cosine", "do": ALIGN}
        facts["seen"] = message(
            "finding.loop.wrong_sign.cosine",
            "The loss is the cosine of the angle between outputs and targets: it went from {start} to {end}, so that the outputs "
            "now point away from their targets (-1: in the opposite direction).",
            start=start,
            end=end,
        )
        yield Finding("loop.wrong_sign", "error", 0.93, "", facts)
    elif ledger.last("loss.overlap_sign") == 1 and end < start:
        facts |= {"fix": "overlap", "do": COMPLEMENT}
        facts["seen"] = message(
            "finding.loop.wrong_sign.overlap",
            "The loss is the overlap of outputs and labels (Dice, intersection over union), which is 1 where they agree. It "
            "was minimised from {start} to {end}, so that the outputs leave out what is labelled.",
            start=start,
            end=end,
        )
        yield Finding("loop.wrong_sign", "error", 0.93, "", facts)
    elif _helps_adversary(ledger):
        facts |= {"fix": "adversary", "do": DECEIVE}
        facts["seen"] = message(
            "finding.loop.wrong_sign.adversary",
            "For generated samples, the loss of the generator moves the output of the discriminator in the same direction as the "
            "discriminator's own loss: the generator helps it to recognise generated samples.",
        )
        yield Finding("loop.wrong_sign", "error", 0.93, "", facts)
    elif pairs := _reversed_pairs(ledger):
        facts |= pairs | {"fix": "pairs", "do": PAIRS}
        facts["seen"] = message(
            "finding.loop.wrong_sign.pairs",
            "Pairs that the loss pulls together were farther apart ({pulled}) than those it pushes apart ({pushed}) at the start, and "
            "still are at the end ({pulled_late} against {pushed_late}): labels of pairs are inverted, or positive and negative are "
            "swapped.",
            **pairs,
        )
        yield Finding("loop.wrong_sign", "error", 0.92, "", facts)
    elif falls_without_limit(ledger):
        start, end = _ends(ledger, start, end)
        facts |= {"start": start, "end": end}
        facts |= {"fix": "", "do": BOUND}
        facts["seen"] = message(
            "finding.loop.wrong_sign.unbounded",
            "The loss went from {start} to {end}: a term of it has no lower limit, so that training drives this term alone.",
            start=start,
            end=end,
        )
        yield Finding("loop.wrong_sign", "error", 0.9, "", facts)
    else:
        yield from _worsens_metric(ledger, facts)


def _reversed_pairs(ledger: Ledger) -> dict[str, float]:
    """Distances of pairs that a loss pulls together and pushes apart, at both ends of a run in which they are reversed."""
    scores, pulled, pushed = (ledger.values(f"pair.{name}") for name in ("reversed", "pulled", "pushed"))
    if len(scores) < MIN_MEASUREMENTS:
        return {}
    early = sum(scores[:EARLY_MEASUREMENTS]) / math.sqrt(EARLY_MEASUREMENTS)
    late = len(scores) // 4
    facts = {"pulled": fmean(pulled[:EARLY_MEASUREMENTS]), "pushed": fmean(pushed[:EARLY_MEASUREMENTS])}
    facts |= {"pulled_late": fmean(pulled[-late:]), "pushed_late": fmean(pushed[-late:]), "reversed": early}
    is_reversed = early > MIN_REVERSED and facts["pulled_late"] > STILL_REVERSED * facts["pushed_late"]
    return facts if is_reversed else {}


def _helps_adversary(ledger: Ledger) -> bool:
    """Return whether the loss of a generator moves the output of this discriminator as the discriminator's own does."""
    helping = ledger.values("adversary.same_direction")
    return len(helping) >= MIN_PASSES and fmean(helping) > MIN_HELPING


def falls_without_limit(ledger: Ledger) -> bool:
    """Return whether a loss with a term written by hand fell far below 0, and faster and faster."""
    whole = "loss.total" if ledger.has("loss.total") else "loss.step"
    if (whole == "loss.step" and ledger.last("loss.seen_by") != "backward") or is_one_of_several(ledger):
        return False
    blocks = loss_blocks(ledger, BLOCKS, whole)
    blocks = blocks[: next((at for at, mean in enumerate(blocks) if not math.isfinite(mean)), len(blocks))]
    if len(blocks) < MIN_BLOCKS or blocks[-1] >= 0:
        return False
    falls = [before - after for before, after in pairwise(blocks)]
    depth = -blocks[-1] / (abs(blocks[0]) + 1)  # a loss may start near 0, as that of a policy
    speeds_up = min(falls[-3:]) > 0 and fmean(falls[-3:]) > MIN_SPEED * max(fmean(falls[:3]), 0.0)
    return depth > BOTTOMLESS or (depth > MIN_DEPTH and speeds_up)


def _ends(ledger: Ledger, start: float, end: float) -> tuple[float, float]:
    """First and last finite value of the whole loss, where a loss of torch is only one of its terms."""
    whole = [loss for loss in ledger.values("loss.total") if math.isfinite(loss)]
    return (whole[0], whole[-1]) if whole else (start, end)


def _worsens_metric(ledger: Ledger, facts: dict[str, Any]) -> Iterable[Finding]:
    """A metric that should rise falls from the first epoch on, under a loss written by hand that does not rise."""
    diverged = facts["end"] > facts["start"] + max(1.0, abs(facts["start"]))  # that of a policy stays near 0
    if ledger.last("loss.seen_by") != "backward" or diverged:
        return
    for metric in ledger.wheres("user.metric"):
        told = ledger.values("user.metric", metric)
        words = re.split(r"[^a-z0-9]+", metric.lower())
        if len(told) < MIN_EPOCHS or not GOOD.intersection(words) or not all(map(math.isfinite, told)):
            continue
        first, late = fmean(told[:2]), fmean(told[-2:])
        pairs = [(a, b) for i, a in enumerate(told) for b in told[i + 1 :]]
        falling = sum(a > b for a, b in pairs) / len(pairs)
        if falling > MIN_FALLING and first - late > MIN_LOSS_OF_METRIC * max(abs(first), 1e-12):
            facts |= {"metric": metric, "fix": "", "do": TURN, "first": told[0], "last": told[-1]}
            facts["seen"] = message(
                "finding.loop.wrong_sign.metric",
                "While the loss was minimised, {metric} fell from {first} in the first epoch to {last} in the last: what the loss "
                "makes smaller is what should grow.",
                metric=metric,
                first=told[0],
                last=told[-1],
            )
            yield Finding("loop.wrong_sign", "error", 0.85, "", facts)
            return


def _minimises_likelihood(ledger: Ledger, start: float, end: float) -> bool:
    """Return whether a loss written by hand on log-probabilities started near -ln K for K classes and fell far below."""
    logarithm = ledger.last("output.activation") == "log_softmax" or ledger.has("loss.log_of_complement")
    classes = max(2, ledger.last("output.count", default=1) or 1)
    binary = ledger.last("loss.log_of_complement", default=0) == 1
    if ledger.last("loss.seen_by") != "backward" or not logarithm:
        return False
    return 0.6 < start / -math.log(2 if binary else classes) < 1.6 and end < 3 * start


SPEC = FindingSpec(
    code="loop.wrong_sign",
    order=230,
    severities=("error",),
    rule=wrong_sign,
    words=Words(
        title="The loss has the wrong sign",
        cause="{seen}",
        fix="{do}",
        snippet={
            "minus": "optimizer.zero_grad()\nloss = loss_fn(model(x), y)\nloss.backward()\noptimizer.step()",
            "likelihood": "loss = F.nll_loss(F.log_softmax(model(x), dim=1), y)",
            "cosine": "loss = (1 - cosine).mean()  # cosine = F.cosine_similarity(outputs, targets)",
        },
    ),
    charts=(loss_and_chance,),
    explains=(
        "data.label_noise",
        "data.labels_shuffled",
        "fit.*",
        "optim.*",
        "gradient.*",
        "activation.*",
        "numerics.nonfinite",
        "model.bad_init",
        "model.too_small",
        "norm.train_eval_gap",
    ),
    needs=(
        "loss.scale",
        "loss.step",
    ),
)

"""Evidence that a loss makes worse what it should make better: signs, pairs, policies, metrics that fall."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from statistics import fmean

from danlu.doctor.derived.progress import loss_blocks
from danlu.doctor.derived.several_models import is_one_of_several
from danlu.doctor.ledger import Ledger

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
MIN_FALLING = 0.85  # fraction of all pairs of epochs in which the later epoch has the lower value
MIN_LOSS_OF_METRIC = 0.4  # drop of the metric, as a fraction of its first value
# Words in the names of metrics that are better when they are higher.
GOOD = {
    *("acc", "accuracy", "iou", "miou", "dice", "f1", "auc", "map", "r2", "precision", "recall"),
    *("reward", "rewards", "return", "returns", "score", "success", "psnr", "ssim", "bleu"),
}
MIN_REVERSED = 4.0  # standard errors by which pulled pairs are farther apart at the start
STILL_REVERSED = 0.95  # of the distance of pushed pairs, for that of pulled ones at the end
EARLY_MEASUREMENTS, MIN_MEASUREMENTS = 8, 16
MIN_PASSES, MIN_HELPING = 8, 0.9  # measured passes through a discriminator, and the fraction whose gradient helps it
MIN_POLICY_STEPS, MIN_CORRELATION = 5, 0.7  # measured steps of a policy, and the mean correlation with the rewards


def ascends(ledger: Ledger) -> bool:
    """Return whether every backward pass ran on a negative multiple of a loss that is best at its minimum."""
    scales = [scale for scale in ledger.values("loss.scale") if math.isfinite(scale)]
    return len(scales) >= 3 and max(scales) < 0 and ledger.last("loss.kind") in MINIMISED


def minimises_likelihood(ledger: Ledger, start: float, end: float) -> bool:
    """Return whether a loss by hand on log-probabilities started near -ln K for K classes and fell far below."""
    logarithm = ledger.last("output.activation") == "log_softmax" or ledger.has("loss.log_of_complement")
    classes = max(2, ledger.last("output.count", default=1) or 1)
    binary = ledger.last("loss.log_of_complement", default=0) == 1
    if ledger.last("loss.seen_by") != "backward" or not logarithm:
        return False
    return 0.6 < start / -math.log(2 if binary else classes) < 1.6 and end < 3 * start


def reversed_pairs(ledger: Ledger) -> dict[str, float]:
    """Distances of pairs that a loss pulls together and pushes apart, of a run in which they are reversed."""
    scores, pulled, pushed = (ledger.values(f"pair.{name}") for name in ("reversed", "pulled", "pushed"))
    if len(scores) < MIN_MEASUREMENTS:
        return {}
    early = sum(scores[:EARLY_MEASUREMENTS]) / math.sqrt(EARLY_MEASUREMENTS)
    late = len(scores) // 4
    facts = {"pulled": fmean(pulled[:EARLY_MEASUREMENTS]), "pushed": fmean(pushed[:EARLY_MEASUREMENTS])}
    facts |= {"pulled_late": fmean(pulled[-late:]), "pushed_late": fmean(pushed[-late:]), "reversed": early}
    is_reversed = early > MIN_REVERSED and facts["pulled_late"] > STILL_REVERSED * facts["pushed_late"]
    return facts if is_reversed else {}


def helps_adversary(ledger: Ledger) -> bool:
    """Return whether the loss of a generator moves the output of this discriminator as the discriminator's own does."""
    helping = ledger.values("adversary.same_direction")
    return len(helping) >= MIN_PASSES and fmean(helping) > MIN_HELPING


def punishes_reward(ledger: Ledger) -> float | None:
    """Correlation of the gradients of log-probabilities with the rewards, if it is clearly positive."""
    found = ledger.values("policy.reward_correlation")
    mean = fmean(found) if len(found) >= MIN_POLICY_STEPS else 0.0
    return mean if mean > MIN_CORRELATION else None


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


def ends_of_whole_loss(ledger: Ledger, start: float, end: float) -> tuple[float, float]:
    """First and last finite value of the whole loss, where a loss of torch is only one of its terms."""
    whole = [loss for loss in ledger.values("loss.total") if math.isfinite(loss)]
    return (whole[0], whole[-1]) if whole else (start, end)


def worsened_metric(ledger: Ledger, start: float, end: float) -> tuple[str, float, float] | None:
    """Metric that should rise but falls from the first epoch on, with its first and last value.

    It is judged under a loss written by hand that does not rise, from `start` to `end`.
    """
    diverged = end > start + max(1.0, abs(start))  # that of a policy stays near 0
    if ledger.last("loss.seen_by") != "backward" or diverged:
        return None
    for metric in ledger.wheres("user.metric"):
        told = ledger.values("user.metric", metric)
        words = re.split(r"[^a-z0-9]+", metric.lower())
        if len(told) < MIN_EPOCHS or not GOOD.intersection(words) or not all(map(math.isfinite, told)):
            continue
        first, late = fmean(told[:2]), fmean(told[-2:])
        pairs = [(a, b) for i, a in enumerate(told) for b in told[i + 1 :]]
        falling = sum(a > b for a, b in pairs) / len(pairs)
        if falling > MIN_FALLING and first - late > MIN_LOSS_OF_METRIC * max(abs(first), 1e-12):
            return metric, told[0], told[-1]
    return None

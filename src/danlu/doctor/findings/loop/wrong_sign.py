"""Finding loop.wrong_sign: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from danlu.doctor.derived.wrong_direction import (
    MAX_COSINE,
    ascends,
    ends_of_whole_loss,
    falls_without_limit,
    helps_adversary,
    minimises_likelihood,
    punishes_reward,
    reversed_pairs,
    worsened_metric,
)
from danlu.doctor.drawings.over_time import loss_and_chance
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.message import Message

MIN_LOSSES = 10  # of steps

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


@dataclass(frozen=True)
class Case:
    """One way in which a loss has the wrong sign: its evidence in words, what to do, and the key of a snippet."""

    seen: Message
    do: Message
    confidence: float
    fix: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def wrong_sign(ledger: Ledger) -> Iterable[Finding]:
    """A loss gets a negative gradient from backward(), and grows; or what should grow is minimised.

    The latter are losses written by hand: a log-likelihood, a cosine, a term without a lower limit, a reward.
    """
    losses = [loss for loss in ledger.values("loss.step") if math.isfinite(loss)]
    if len(losses) < MIN_LOSSES:
        return
    start, end = fmean(losses[:3]), fmean(losses[-max(3, len(losses) // 10) :])
    case = next((found for look in CASES if (found := look(ledger, start, end)) is not None), None)
    if case is not None:
        facts = {"start": start, "end": end} | case.facts | {"fix": case.fix, "do": case.do, "seen": case.seen}
        yield Finding("loop.wrong_sign", "error", case.confidence, "", facts)


def negated(ledger: Ledger, start: float, end: float) -> Case | None:
    """backward() runs on the loss times a negative number, and the loss rose."""
    if not ascends(ledger) or end <= start:
        return None
    scales = [scale for scale in ledger.values("loss.scale") if math.isfinite(scale)]
    seen = message(
        "finding.loop.wrong_sign.negative",
        "backward() runs on {scale} times the loss, so that every step increases it: it went from {start} to {end}.",
        scale=scales[-1],
        start=start,
        end=end,
    )
    return Case(seen, REMOVE, 0.97, "minus", {"scale": scales[-1], "measured": len(scales)})


def likelihood(ledger: Ledger, start: float, end: float) -> Case | None:
    """The log-probability of the labels is minimised instead of its negative."""
    if not minimises_likelihood(ledger, start, end):
        return None
    seen = message(
        "finding.loop.wrong_sign.likelihood",
        "The loss is the mean log-probability of the labels, which is at most 0, without a minus: it fell from {start} to "
        "{end}, so that each step makes the right classes less probable.",
        start=start,
        end=end,
    )
    return Case(seen, ADD, 0.9, "likelihood")


def cosine(ledger: Ledger, start: float, end: float) -> Case | None:
    """The cosine similarity of outputs and targets is minimised instead of its negative."""
    if ledger.last("loss.cosine_sign") != 1 or end >= MAX_COSINE * abs(start - end):
        return None
    seen = message(
        "finding.loop.wrong_sign.cosine",
        "The loss is the cosine of the angle between outputs and targets: it went from {start} to {end}, so that the outputs "
        "now point away from their targets (-1: in the opposite direction).",
        start=start,
        end=end,
    )
    return Case(seen, ALIGN, 0.93, "cosine")


def overlap(ledger: Ledger, start: float, end: float) -> Case | None:
    """The overlap of outputs and labels is minimised instead of one minus it."""
    if ledger.last("loss.overlap_sign") != 1 or end >= start:
        return None
    seen = message(
        "finding.loop.wrong_sign.overlap",
        "The loss is the overlap of outputs and labels (Dice, intersection over union), which is 1 where they agree. It "
        "was minimised from {start} to {end}, so that the outputs leave out what is labelled.",
        start=start,
        end=end,
    )
    return Case(seen, COMPLEMENT, 0.93, "overlap")


def adversary(ledger: Ledger, start: float, end: float) -> Case | None:
    """The generator is trained on the loss of the discriminator instead of against it."""
    if not helps_adversary(ledger):
        return None
    seen = message(
        "finding.loop.wrong_sign.adversary",
        "For generated samples, the loss of the generator moves the output of the discriminator in the same direction as the "
        "discriminator's own loss: the generator helps it to recognise generated samples.",
    )
    return Case(seen, DECEIVE, 0.93, "adversary")


def pairs(ledger: Ledger, start: float, end: float) -> Case | None:
    """Pairs of equal labels are pushed apart and others pulled together."""
    found = reversed_pairs(ledger)
    if not found:
        return None
    seen = message(
        "finding.loop.wrong_sign.pairs",
        "Pairs that the loss pulls together were farther apart ({pulled}) than those it pushes apart ({pushed}) at the start, and "
        "still are at the end ({pulled_late} against {pushed_late}): labels of pairs are inverted, or positive and negative are "
        "swapped.",
        **found,
    )
    return Case(seen, PAIRS, 0.92, "pairs", dict(found))


def policy(ledger: Ledger, start: float, end: float) -> Case | None:
    """A policy gradient lowers the probability of actions with a high reward."""
    found = punishes_reward(ledger)
    if found is None:
        return None
    seen = message(
        "finding.loop.wrong_sign.policy",
        "A step makes actions less probable the higher their reward is: the gradients of the log-probabilities of the "
        "actions and their rewards have a correlation of {correlation} (-1 is right).",
        correlation=found,
    )
    return Case(seen, TURN, 0.9, "policy", {"correlation": found})


def unbounded(ledger: Ledger, start: float, end: float) -> Case | None:
    """A term of the loss falls without a lower limit."""
    if not falls_without_limit(ledger):
        return None
    start, end = ends_of_whole_loss(ledger, start, end)
    seen = message(
        "finding.loop.wrong_sign.unbounded",
        "The loss went from {start} to {end}: a term of it has no lower limit, so that training drives this term alone.",
        start=start,
        end=end,
    )
    return Case(seen, BOUND, 0.9, facts={"start": start, "end": end})


def metric(ledger: Ledger, start: float, end: float) -> Case | None:
    """A metric that should grow fell while the loss was minimised."""
    found = worsened_metric(ledger, start, end)
    if found is None:
        return None
    name, first, last = found
    seen = message(
        "finding.loop.wrong_sign.metric",
        "While the loss was minimised, {metric} fell from {first} in the first epoch to {last} in the last: what the loss "
        "makes smaller is what should grow.",
        metric=name,
        first=first,
        last=last,
    )
    return Case(seen, TURN, 0.85, facts={"metric": name, "first": first, "last": last})


# The first that applies is reported.
CASES = (negated, likelihood, cosine, overlap, adversary, pairs, policy, unbounded, metric)


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
            "policy": (
                "policy = torch.distributions.Categorical(logits=model(x))\n"
                "action = policy.sample()\n"
                "loss = -(policy.log_prob(action) * rewards).mean()"
            ),
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

"""Finding loop.wrong_sign: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean

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

REMOVE = message(
    "finding.loop.wrong_sign.remove",
    "Remove the minus sign. To maximise on purpose, give the optimiser maximize=True.",
)
ADD = message("finding.loop.wrong_sign.add", "Minimise the negative log-likelihood.")


def wrong_sign(ledger: Ledger) -> Iterable[Finding]:
    """A loss gets a negative gradient from backward(), and grows; or a log-likelihood is minimised."""
    scales = [scale for scale in ledger.values("loss.scale") if math.isfinite(scale)]
    losses = [loss for loss in ledger.values("loss.step") if math.isfinite(loss)]
    if len(losses) < 10:
        return
    start, end = fmean(losses[:3]), fmean(losses[-max(3, len(losses) // 10) :])
    facts = {"start": start, "end": end}
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


def _minimises_likelihood(ledger: Ledger, start: float, end: float) -> bool:
    """Return whether a loss written by hand on log_softmax started near -ln K for K classes and fell far below."""
    by_hand = ledger.last("loss.seen_by") == "backward" and ledger.last("output.activation") == "log_softmax"
    classes = ledger.last("output.count", default=1) or 1
    if not by_hand or classes < 2:
        return False
    return 0.6 < start / -math.log(classes) < 1.6 and end < 3 * start


SPEC = FindingSpec(
    code="loop.wrong_sign",
    order=230,
    severities=("error",),
    rule=wrong_sign,
    words=Words(
        title="The loss is maximised instead of minimised",
        cause="{seen}",
        fix="{do}",
        snippet={
            "minus": "optimizer.zero_grad()\nloss = loss_fn(model(x), y)\nloss.backward()\noptimizer.step()",
            "likelihood": "loss = F.nll_loss(F.log_softmax(model(x), dim=1), y)",
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

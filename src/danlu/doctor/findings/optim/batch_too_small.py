"""Finding optim.batch_too_small: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable

from danlu.doctor.derived.noise import batch_size, noise_scale
from danlu.doctor.derived.progress import skills, steps_taken
from danlu.doctor.derived.updates import first_update
from danlu.doctor.drawings.counts import counts
from danlu.doctor.drawings.over_time import loss_and_chance
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.message import Message

HASTY_UPDATE = 0.1  # of the weights, by each of the first steps
MIN_SAMPLES = 1000  # samples seen in training before the batch size is judged


def batch_too_small(ledger: Ledger) -> Iterable[Finding]:
    """Batch far below the gradient noise scale (McCandlish et al. 2018)."""
    batch, measured = batch_size(ledger), noise_scale(ledger)
    skill = (skills(ledger, "train") or [None])[-1]
    if not batch or batch > 8 or measured is None or skill is None or steps_taken(ledger) * batch < MIN_SAMPLES:
        return
    scale = measured[0]
    facts = {"batch": batch, "noise_scale": scale, "balance": _noise_scale_text(batch, *measured), "skill": skill}
    hasty = first_update(ledger) > HASTY_UPDATE  # gradients after such steps are no evidence of the batch size
    if scale > 10 * batch and skill < 0.3 and not hasty:
        yield Finding("optim.batch_too_small", "warning", 0.85, "", facts)
    elif scale > 20 * batch and batch <= 4:
        yield Finding("optim.batch_too_small", "note", 0.7, "", facts)


def _noise_scale_text(batch: float, scale: float, unbiased: bool) -> Message:
    if not math.isfinite(scale):
        return message(
            "finding.optim.batch_too_small.unrelated",
            "The gradients of successive batches of {batch} samples point in unrelated directions",
            batch=batch,
        )
    at_most = "" if unbiased else message("finding.optim.batch_too_small.at_most", "at most ")
    return message(
        "finding.optim.batch_too_small.measured",
        "With {batch} samples per step the gradient is mostly noise: only with {at_most}{samples} samples would it be half "
        "signal and half noise (McCandlish et al. 2018)",
        batch=batch,
        at_most=at_most,
        samples=round(scale),
    )


SPEC = FindingSpec(
    code="optim.batch_too_small",
    order=410,
    severities=(
        "warning",
        "note",
    ),
    rule=batch_too_small,
    words=Words(
        title="The batch is too small: the gradient is mostly noise",
        cause="{balance}.",
        fix=(
            "Use batches of 32 or more. If memory is limited, accumulate the gradients of several batches, "
            "or divide the learning rate by 10."
        ),
        snippet="loader = torch.utils.data.DataLoader(dataset, batch_size=32, shuffle=True)",
    ),
    charts=(
        counts(
            message("doctor.chart.batch_against_gradient_noise", "Batch against gradient noise"),
            message("doctor.chart.samples", "samples"),
            [
                ("batch", message("doctor.chart.batch", "batch"), True),
                ("noise_scale", message("doctor.chart.noise_scale", "noise scale"), False),
            ],
            log=True,
        ),
        loss_and_chance,
    ),
    explains=(
        "fit.*",
        "optim.lr_too_high",
        "activation.*",
        "gradient.vanishing",
        "optim.oscillation",
    ),
    contradicts=("optim.batch_too_large",),
    needs=(
        "gradient.noise",
        "loss.mean[train]",
    ),
    alone=True,
)

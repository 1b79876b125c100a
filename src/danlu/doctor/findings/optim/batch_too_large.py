"""Finding optim.batch_too_large: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.noise import batch_size, noise_scale
from danlu.doctor.derived.progress import MIN_DESCENT, descent, epoch_samples, falls_until_end, skills, steps_taken
from danlu.doctor.derived.updates import updates_oscillate
from danlu.doctor.drawings.counts import counts
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MAX_STEPS = 200  # of a whole training: few
LOW_SKILL = 0.5  # fraction of the loss at chance level explained: a loss that falls by little from so high lacks steps


def batch_too_large(ledger: Ledger) -> Iterable[Finding]:
    """Few steps because a batch holds most of an epoch, while the loss is still falling."""
    batch, samples = batch_size(ledger), ledger.last("loader.samples") or epoch_samples(ledger)
    steps, late, skill = steps_taken(ledger), descent(ledger), (skills(ledger, "train") or [None])[-1]
    if not batch or not samples or late is None or skill is None or steps < 5:
        return
    scale, _ = noise_scale(ledger) or (None, False)
    facts = {"batch": batch, "samples": samples, "steps": steps, "descent": late, "skill": skill, "noise_scale": scale}
    if batch < 0.3 * samples or batch < 256 or skill > 0.95 or updates_oscillate(ledger):
        return
    if steps <= MAX_STEPS and (late > MIN_DESCENT or (skill < LOW_SKILL and falls_until_end(ledger))):
        yield Finding("optim.batch_too_large", "warning", 0.8, "", facts)
    elif steps <= 60:
        yield Finding("optim.batch_too_large", "note", 0.7, "", facts)


SPEC = FindingSpec(
    code="optim.batch_too_large",
    order=420,
    severities=(
        "warning",
        "note",
    ),
    rule=batch_too_large,
    words=Words(
        title="The batch is too large: too few steps",
        cause=(
            "Batches of {batch} from {samples} training samples leave only {steps} steps, and the loss was "
            "still falling at the end. Smaller batches take more steps for the same number of samples."
        ),
        fix="Use smaller batches, for example 64.",
        snippet="loader = torch.utils.data.DataLoader(dataset, batch_size=64, shuffle=True)",
    ),
    charts=(
        counts(
            message("doctor.chart.batch_against_gradient_noise", "Batch against gradient noise"),
            message("doctor.chart.samples", "samples"),
            [
                ("batch", message("doctor.chart.batch", "batch"), True),
                ("noise_scale", message("doctor.chart.noise_scale", "noise scale"), False),
                ("samples", message("doctor.chart.training_set", "training set"), False),
            ],
            log=True,
        ),
    ),
    explains=(
        "optim.slow_convergence",
        "fit.*",
        "optim.lr_too_low",
    ),
    needs=(
        "batch.size",
        "loss.mean[train]",
    ),
    alone=True,
)

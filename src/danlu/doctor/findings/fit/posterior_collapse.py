"""Finding fit.posterior_collapse: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.drawings.counts import against_threshold
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MIN_DIFFERENCE = 0.05  # between reconstructions, relative to that between their inputs
MIN_STEPS = 100  # training steps; before, a VAE reconstructs the mean


def posterior_collapse(ledger: Ledger) -> Iterable[Finding]:
    """A model that samples reconstructs the same for every input: the latent variables carry nothing (Bowman et al. 2016)."""
    difference, steps = ledger.last("probe.reconstruction"), ledger.last("run.finished", default=0)
    if difference is not None and difference < MIN_DIFFERENCE and steps >= MIN_STEPS:
        facts = {"difference": difference, "threshold": MIN_DIFFERENCE, "steps": steps}
        yield Finding("fit.posterior_collapse", "error", 0.9, "", facts)


SPEC = FindingSpec(
    code="fit.posterior_collapse",
    order=515,
    severities=("error",),
    rule=posterior_collapse,
    words=Words(
        title="The reconstructions do not depend on the inputs",
        cause=(
            "With the same random numbers, the reconstructions of different inputs differ by only {difference:%} of the "
            "differences between these inputs. The latent variables carry no information (posterior collapse), as where "
            "the KL term outweighs the error of the reconstruction."
        ),
        fix=(
            "Weigh the terms alike: sum both over the values of a sample before averaging over the batch, not the mean over "
            "pixels beside a sum over latent variables. Raise the weight of the KL term from 0 over the first epochs."
        ),
        snippet=(
            'error = F.mse_loss(outputs, torch.zeros_like(outputs), reduction="none").flatten(1).sum(1).mean()\n'
            "weight = min(1.0, epochs / 10)  # of the KL term, in epoch 1, 2, 3, ..."
        ),
    ),
    charts=(
        against_threshold(
            message("doctor.chart.reconstructions", "Differences between reconstructions"),
            message("doctor.chart.relative_to_inputs", "relative to those between the inputs"),
            "difference",
            log=True,
        ),
    ),
    explains=("activation.*", "gradient.vanishing", "optim.*", "fit.stopped_early"),
    needs=("probe.reconstruction",),
    concerns=lambda ledger: ledger.has("probe.reconstruction"),
)

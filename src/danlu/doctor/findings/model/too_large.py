"""Finding model.too_large: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.progress import epoch_samples, last_loss, skills
from danlu.doctor.drawings.counts import counts
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message


def too_large(ledger: Ledger) -> Iterable[Finding]:
    """At least a thousand weights per sample, all training samples memorised, and poor validation."""
    weights, samples = sum(ledger.facts("parameter.size").values()), epoch_samples(ledger)
    skill, val_skill = (skills(ledger, "train") or [None])[-1], (skills(ledger, "val") or [None])[-1]
    if skill is None or val_skill is None or not samples:
        return
    facts = {"weights": weights, "samples": samples, "ratio": weights / samples, "skill": skill, "val_skill": val_skill}
    facts |= {"train": last_loss(ledger, "train"), "val": last_loss(ledger, "val")}
    if weights > 1000 * samples and skill > 0.97 and skill - val_skill > 0.1:
        yield Finding("model.too_large", "note", 0.8, "", facts)


SPEC = FindingSpec(
    code="model.too_large",
    order=170,
    severities=("note",),
    rule=too_large,
    words=Words(
        title="The model is far larger than the data",
        cause=(
            "The model has {weights} weights for {samples} training samples, {ratio} for each. The training "
            "loss is {train} and the validation loss {val}: the training set is memorised."
        ),
        fix=(
            "Use a narrower model, or start from pretrained weights; more data or augmentation help more than either."
        ),
    ),
    charts=(
        counts(
            message("doctor.chart.weights_against_samples", "Weights against samples"),
            message("doctor.chart.count", "count"),
            [
                ("weights", message("doctor.chart.weights", "weights"), True),
                ("samples", message("doctor.chart.samples", "samples"), False),
            ],
            log=True,
        ),
    ),
    needs=(
        "loss.mean[val]",
        "parameter.size",
    ),
)

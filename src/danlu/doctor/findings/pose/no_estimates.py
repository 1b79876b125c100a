"""Finding pose.no_estimates: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.applies import estimates_poses
from danlu.doctor.drawings.poses import estimates
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MIN_EPOCHS = 3  # with no estimate; in the first ones a network finds nothing yet


def no_estimates(ledger: Ledger) -> Iterable[Finding]:
    """Epochs in which no object is found, so that poses are not measured or not trained."""
    severity = "warning"
    losses, found = ledger.values("pose.rotation_loss", "train"), ledger.values("pose.found", "val")
    if losses and losses[-1] == 0:
        what = message(
            "finding.pose.no_estimates.no_loss",
            "The rotation loss of epoch {epoch} is exactly 0: it had no object to learn from",
            epoch=len(losses),
        )
        severity = "error" if len(losses) >= MIN_EPOCHS and not any(losses[-MIN_EPOCHS:]) else "note"
    elif len(found) >= MIN_EPOCHS and not any(found[-MIN_EPOCHS:]):
        what = message(
            "finding.pose.no_estimates.not_found",
            "After {epochs} epochs no object of the validation set has an estimate",
            epochs=len(found),
        )
    else:
        return
    facts = {"what": what, "epochs": max(len(losses), len(found)), "found": found[-1] if found else 0.0}
    yield Finding("pose.no_estimates", severity, 0.9, "", facts)


SPEC = FindingSpec(
    code="pose.no_estimates",
    order=653,
    severities=("error", "warning", "note"),
    rule=no_estimates,
    words=Words(
        title="No object is found, so that poses are not learnt or measured",
        cause=(
            "{what}. A pose is read from a region of its object. In the first epochs a network finds none, and a pose loss on "
            "its own regions is then 0, which looks like success."
        ),
        fix=(
            "Train the pose from the true boxes until objects are found, as danlu does, and look at the losses of boxes, "
            "labels and centres first. With few images train longer: a batch without objects has no pose loss."
        ),
    ),
    charts=(estimates,),
    needs=("pose.loss", "pose.found[val]"),
    concerns=estimates_poses,
)

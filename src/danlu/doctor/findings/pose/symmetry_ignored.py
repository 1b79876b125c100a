"""Finding pose.symmetry_ignored: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.applies import estimates_poses
from danlu.doctor.drawings.poses import rotation_errors
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MIN_EPOCHS = 3  # before the rotation is judged
AT_CHANCE = 0.8  # of the error at chance level; a rotation above it has not been learnt
LEARNT_DEPTH = 0.2  # relative error of the depth, below which the position has been learnt


def symmetry_ignored(ledger: Ledger) -> Iterable[Finding]:
    """A rotation loss without symmetries for objects that have some; an error once only the rotation stays at chance."""
    symmetries = {name: n for name, n in ledger.facts("pose.symmetries").items() if n > 1}
    if ledger.last("pose.loss") != "ploss" or not symmetries:
        return
    stuck = {name: error for name in symmetries if (error := _stuck_at(ledger, name))}
    name = next(iter(stuck or symmetries))
    facts = {"names": ", ".join(stuck or symmetries), "name": name, "symmetries": symmetries[name]}
    if stuck:
        facts |= {"rotation": stuck[name], "chance": ledger.last("pose.chance", name)}
        facts["what"] = message(
            "finding.pose.symmetry_ignored.stuck",
            "The rotation of {name} is {rotation:.3g} degrees off, where an answer that ignores the image is {chance:.3g}, although its position is learnt",
            name=name,
            rotation=facts["rotation"],
            chance=facts["chance"],
        )
    else:
        facts["what"] = message(
            "finding.pose.symmetry_ignored.declared",
            "{name} looks the same from {symmetries} rotations",
            name=name,
            symmetries=symmetries[name],
        )
    yield Finding("pose.symmetry_ignored", "error" if stuck else "warning", 0.95 if stuck else 0.8, name, facts)


def _stuck_at(ledger: Ledger, name: str) -> float | None:
    """Rotation error of an object in degrees, if it stays at chance level while its depth is learnt."""
    errors, depth = ledger.values("pose.rotation", name), ledger.last("pose.depth", name)
    chance = ledger.last("pose.chance", name)
    if len(errors) < MIN_EPOCHS or not chance or depth is None or depth > LEARNT_DEPTH:
        return None
    return errors[-1] if min(errors[-2:]) > AT_CHANCE * chance else None


SPEC = FindingSpec(
    code="pose.symmetry_ignored",
    order=652,
    severities=("error", "warning"),
    rule=symmetry_ignored,
    words=Words(
        title="The rotation loss does not know the symmetries of {names}",
        cause=(
            "{what}. The loss is PLoss, the distance to the one pose that the data name. Images that look the same have "
            "different answers there, and the best one is their mean, which is no rotation of the object: the loss does not "
            "converge."
        ),
        fix=(
            "Take a loss that forgives symmetries: --detect.pose-loss symmetries (the minimum over the declared ones) or "
            "sloss (the nearest points). In a loop of your own take the minimum of the loss over R S for each symmetry S."
        ),
    ),
    charts=(rotation_errors,),
    needs=("pose.loss", "pose.symmetries"),
    concerns=estimates_poses,
)

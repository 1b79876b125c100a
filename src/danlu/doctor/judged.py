"""Number of findings checked in a run, and the list of those that could not be judged, with the reason."""

from __future__ import annotations

from dataclasses import dataclass

from danlu.doctor.findings.table import FINDINGS
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message, recorded
from danlu.message import Message


@dataclass(frozen=True)
class NotJudged:
    """A finding that the ledger cannot decide. needs: the ledger entry that is missing ("loss.mean[val]")."""

    code: str
    needs: str
    why: Message


@dataclass(frozen=True)
class Checked:
    """Result of `judged`.

    n: number of findings that were checked. not_judged: findings whose measurements are missing. Findings that do not
    apply to the run (bounding boxes of a classifier, batch norm of a network without it) are in neither.
    """

    n: int
    not_judged: list[NotJudged]

    def reasons(self) -> dict[str, list[str]]:
        """Reason in the current language -> codes of the findings that it prevents."""
        found: dict[str, list[str]] = {}
        for one in self.not_judged:
            found.setdefault(str(one.why), []).append(one.code)
        return found


NO_VALIDATION = message("doctor.not_judged.validation", "no validation pass was seen")
# Beginning of a ledger entry -> why it may be missing; the first that fits.
REASONS: tuple[tuple[str, Message], ...] = (
    ("layer.gradient", message("doctor.not_judged.layer_gradients", "gradients inside the model were not measured")),
    ("layer.", message("doctor.not_judged.layers", "the model's layers were not seen")),
    ("activation.", message("doctor.not_judged.activations", "activations were not measured")),
    ("mode.", message("doctor.not_judged.modes", "no batch was run again in eval mode")),
    ("gradient.", message("doctor.not_judged.steps", "no optimiser step was measured")),
    ("update.", message("doctor.not_judged.steps", "no optimiser step was measured")),
    ("weight.", message("doctor.not_judged.steps", "no optimiser step was measured")),
    ("optimizer.", message("doctor.not_judged.optimiser", "no optimiser step was seen")),
    ("input.", message("doctor.not_judged.inputs", "the inputs are not one tensor, or were not measured")),
    ("loss.", message("doctor.not_judged.loss", "no loss was seen")),
    ("class.", message("doctor.not_judged.classes", "no class predictions were seen")),
    ("label.", message("doctor.not_judged.classes", "no class predictions were seen")),
    ("target.", message("doctor.not_judged.targets", "no targets were seen")),
    ("output.", message("doctor.not_judged.outputs", "the outputs given to the loss were not seen")),
    ("probe.", message("doctor.not_judged.probes", "the model's behaviour was not tested on a batch")),
    ("parameter.", message("doctor.not_judged.parameters", "the model's parameters were not seen")),
    ("norm.", message("doctor.not_judged.norms", "no normalisation layer was seen in training")),
    ("model.receptive", message("doctor.not_judged.receptive", "the receptive field of the detector is not known")),
    ("object.", message("doctor.not_judged.objects", "the data set's boxes were not described")),
    ("graph.", message("doctor.not_judged.epochs", "no epoch was seen to end")),
    ("run.steps", message("doctor.not_judged.epochs", "no epoch was seen to end")),
    ("loop.", message("doctor.not_judged.passes", "no training pass was seen")),
    ("batch.size", message("doctor.not_judged.batches", "no training batch was seen")),
    ("batch.", message("doctor.not_judged.classes", "no class predictions were seen")),
    ("time.", message("doctor.not_judged.times", "the time of the steps was not measured")),
    ("memory.", message("doctor.not_judged.memory", "memory was not measured over several epochs")),
    ("run.precision", message("doctor.not_judged.precision", "the precision of the training is not known")),
    ("run.optimizer_steps", message("doctor.not_judged.optimiser", "no optimiser step was seen")),
    ("accuracy.", message("doctor.not_judged.accuracy", "no accuracy was measured")),
)
UNSEEN = {
    "layer.": "layers",
    "probe.": "replay",
    "activation.": "layers",
    "mode.": "replay",
    "loss.": "loss",
    "gradient.clip": "clipping",
}


def judged(ledger: Ledger) -> Checked:
    """Count the findings that the ledger can decide, and list the others with the reason."""
    applying = {code: spec.needs for code, spec in FINDINGS.items() if spec.applies(ledger)}
    missing = {code: lacking for code, needs in applying.items() if (lacking := _missing_entry(ledger, needs))}
    return Checked(
        len(applying) - len(missing), [NotJudged(code, need, _reason(ledger, need)) for code, need in missing.items()]
    )


def _missing_entry(ledger: Ledger, needs: tuple[str, ...]) -> str | None:
    """First entry that is not in the ledger."""
    for need in needs:
        name, _, where = need.rstrip("]").partition("[")
        if not ledger.has(name, where or None):
            return need
    return None


def _reason(ledger: Ledger, need: str) -> Message:
    known = ledger.facts("run.unseen")
    for beginning, what in UNSEEN.items():
        if need.startswith(beginning) and what in known:
            return recorded(known[what])
    if need.endswith("[val]") or need == "loop.val_in_train":
        name = need.partition("[")[0]
        if need == "loop.val_in_train" or ledger.has(name, "train"):
            return NO_VALIDATION
    missing = message("doctor.not_judged.other", "what it rests on was not measured in this run")
    return next((why for beginning, why in REASONS if need.startswith(beginning)), missing)

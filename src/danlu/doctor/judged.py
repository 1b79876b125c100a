"""Count the findings that a run could be checked for, and list those that could not be judged, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from danlu.doctor.ledger import Ledger
from danlu.message import Message, message


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


def always(ledger: Ledger) -> bool:
    """Default of `concerns`: the finding applies to every run."""
    return True


def classifies(ledger: Ledger) -> bool:
    """Whether targets are classes, or not known to be anything else."""
    return ledger.last("target.kind", default="classes") != "values"


def has_norm(ledger: Ledger) -> bool:
    """Whether the model has normalisation layers, or its layers are not known."""
    return ledger.has("norm.kind") or not ledger.has("layer.kind")


def has_modes(ledger: Ledger) -> bool:
    """Whether a layer behaves differently in train and eval mode, or this is not known."""
    return bool(ledger.last("loop.mode_matters", default=1))


def detects(ledger: Ledger) -> bool:
    """Whether the trainer described the objects of a detection data set."""
    return ledger.has("object.count")


def reports_metrics(ledger: Ledger) -> bool:
    """Whether the loop reported figures of its own by doctor.epoch(name=value)."""
    return ledger.has("user.metric")


# Code -> (ledger entries without which the finding cannot be judged, whether it applies to a run at all).
NEEDS: dict[str, tuple[tuple[str, ...], Callable[[Ledger], bool]]] = {
    "data.leak": (("input.hashed[train]", "input.hashed[val]"), always),
    "data.duplicates": (("input.repeated[train]",), always),
    "data.imbalance": (("class.actual[train]",), classifies),
    "data.label_range": (("loss.kind", "target.min[train]"), always),
    "data.label_noise": (("label.confident[val]",), classifies),
    "data.labels_shuffled": (("loss.mean[val]",), always),
    "data.not_normalised": (("input.mean[train]",), always),
    "data.degenerate": (("input.samples[train]",), always),
    "data.not_shuffled": (("batch.label_distance",), classifies),
    "data.split_shift": (("input.mean[train]", "input.mean[val]"), always),
    "data.augmentation_harmful": (("input.mean[train]", "input.mean[val]"), always),
    "data.bad_boxes": (("object.count",), detects),
    "model.no_nonlinearity": (("layer.linear_layers",), always),
    "model.output_mismatch": (("loss.kind", "output.activation"), always),
    "model.loss_mismatch": (("loss.kind", "target.kind"), always),
    "model.bad_init": (("parameter.std", "activation.std"), always),
    "model.unreached": (("parameter.reached",), always),
    "model.bias_before_norm": (("layer.kind",), always),
    "model.too_small": (("loss.mean[val]", "layer.output_shape"), always),
    "model.too_large": (("loss.mean[val]", "parameter.size"), always),
    "model.receptive_field": (("model.receptive_field",), detects),
    "model.anchor_coverage": (("object.count",), detects),
    "norm.small_batch": (("norm.batch",), has_norm),
    "norm.train_eval_gap": (("mode.loss_eval",), has_norm),
    "loop.missing_zero_grad": (("optimizer.leftover_share",), always),
    "loop.wrong_sign": (("loss.scale", "loss.step"), always),
    "loop.no_update": (("run.optimizer_steps",), always),
    "loop.params_not_in_optimizer": (("parameter.held", "parameter.reached"), always),
    "loop.optimizer_recreated": (("optimizer.kind",), always),
    "loop.wrong_mode": (("loop.train_in_eval", "loop.val_in_train"), has_modes),
    "loop.graph_kept": (("graph.alive",), always),
    "loop.scheduler_misuse": (("optimizer.lr", "run.steps"), always),
    "loop.metric_last_batch": (("loss.batch_mean",), reports_metrics),
    "optim.lr_too_high": (("loss.step", "optimizer.lr", "update.ratio"), always),
    "optim.lr_too_low": (("update.ratio", "loss.mean[train]", "loss.kind"), always),
    "optim.oscillation": (("update.cosine",), always),
    "optim.plateau_saddle": (("loss.step", "loss.kind", "parameter.std"), always),
    "optim.plateau_minimum": (("gradient.norm", "loss.step"), always),
    "optim.slow_convergence": (("loss.mean[train]", "loss.kind"), always),
    "optim.weight_decay_too_strong": (("optimizer.weight_decay", "weight.norm"), always),
    "optim.momentum_too_high": (("optimizer.momentum", "loss.step"), always),
    "optim.batch_too_small": (("gradient.noise", "loss.mean[train]"), always),
    "optim.batch_too_large": (("batch.size", "loss.mean[train]"), always),
    "optim.no_warmup": (("optimizer.kind", "layer.kind", "update.ratio"), always),
    "optim.clipping_always": (("gradient.clip_ratio",), always),
    "gradient.vanishing": (("layer.gradient",), always),
    "gradient.exploding": (("layer.gradient", "gradient.norm"), always),
    "activation.dead_relu": (("activation.std",), always),
    "activation.saturated": (("activation.std",), always),
    "activation.collapsed": (("activation.spread",), always),
    "numerics.nonfinite": (("loss.step",), always),
    "numerics.half_range": (("run.precision",), always),
    "fit.overfitting": (("loss.mean[val]", "loss.kind"), always),
    "fit.underfitting": (("loss.mean[val]", "loss.kind"), always),
    "fit.one_class": (("class.predicted[val]",), classifies),
    "fit.not_learning": (("loss.mean[val]", "loss.kind"), always),
    "fit.regularisation_too_strong": (("loss.mean[val]", "loss.kind"), always),
    "fit.stopped_early": (("loss.mean[train]", "loss.kind"), always),
    "fit.trained_too_long": (("loss.mean[val]", "loss.kind"), always),
    "speed.input_bound": (("time.wait",), always),
    "speed.device_idle": (("time.step",), always),
    "speed.memory_growth": (("memory.process",), always),
}

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
)
UNSEEN = {"layer.": "layers", "activation.": "layers", "mode.": "replay", "loss.": "loss", "gradient.clip": "clipping"}


def judged(ledger: Ledger) -> Checked:
    """Tell which findings the ledger can decide: how many were checked, and which could not be judged and why."""
    applying = {code: needs for code, (needs, concerns) in NEEDS.items() if concerns(ledger)}
    missing = {code: lacking for code, needs in applying.items() if (lacking := _lacking(ledger, needs))}
    return Checked(
        len(applying) - len(missing), [NotJudged(code, need, _why(ledger, need)) for code, need in missing.items()]
    )


def _lacking(ledger: Ledger, needs: tuple[str, ...]) -> str | None:
    """First entry that is not in the ledger."""
    for need in needs:
        name, _, where = need.rstrip("]").partition("[")
        if not ledger.has(name, where or None):
            return need
    return None


def _why(ledger: Ledger, need: str) -> Message:
    known = ledger.facts("run.unseen")
    for beginning, what in UNSEEN.items():
        if need.startswith(beginning) and what in known:
            return message("doctor.not_judged.because", "{why}", why=known[what])
    if need.endswith("[val]") or need == "loop.val_in_train":
        name = need.partition("[")[0]
        if need == "loop.val_in_train" or ledger.has(name, "train"):
            return NO_VALIDATION
    missing = message("doctor.not_judged.entry", "{entry} was not recorded", entry=need)
    return next((why for beginning, why in REASONS if need.startswith(beginning)), missing)

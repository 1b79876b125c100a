"""The table from the code of a finding to the changes of settings (`candidates.py`) that may fix it.

Nothing is trained here: `healing/heal.py` trains with each change and keeps those that help. For findings that no
setting can fix, `why_not` returns the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields

from danlu.advice import candidates
from danlu.advice.case import Case, Change
from danlu.config import ModelConfig
from danlu.message import Message, message

Remedy = Callable[[Case], list[Change]]

# Settings that suit a training from random initialisation only.
OF_RANDOM_INITIALISATION = frozenset(
    ("optim.name", *(f"model.{field.name}" for field in fields(ModelConfig) if field.name != "dropout"))
)


def changes(code: str, case: Case) -> list[Change]:
    """Changes to test for a finding, each different from the run's settings; empty if no setting can fix it."""
    return _different(REMEDIES, code, case)


def proposed(code: str, case: Case) -> list[Change]:
    """Changes that are proposed to the user, most of which `--heal` would test."""
    if code in PROPOSED:
        return _different(PROPOSED, code, case)
    return changes(code, case) or _different(UNTESTED, code, case)


def why_not(code: str) -> Message:
    """The reason why no change of settings is tested for a finding."""
    return (
        NO_SETTING.get(code)
        or NO_SETTING.get(code.partition(".")[0])
        or message("no_setting.other", "no setting is known to fix it")
    )


def without_remedy(codes: Iterable[str]) -> list[str]:
    """Codes of findings for which neither a change of settings nor a reason against one is listed."""
    return [code for code in codes if code not in REMEDIES | NO_SETTING and code.partition(".")[0] not in NO_SETTING]


def _different(table: Mapping[str, Remedy], code: str, case: Case) -> list[Change]:
    """Changes of one finding without repetitions and without values that the run already has.

    A run that started from trained weights is not offered another network or initialisation, which they do not fit, or
    another optimiser: its settings are those of a fine-tuning.
    """
    found: list[Change] = []
    pretrained = case.config.transfer.start is not None or case.config.model.pretrained
    for change in table[code](case) if code in table else []:
        if pretrained and any(key in OF_RANDOM_INITIALISATION for key in change):
            continue
        new = case.differing(change)
        if new and new not in found:
            found.append(new)
    return found


REMEDIES: dict[str, Remedy] = {
    "data.augmentation_harmful": candidates.weaker_augmentation,
    "data.imbalance": candidates.balanced_classes,
    "data.label_noise": candidates.tolerate_wrong_labels,
    "model.no_nonlinearity": candidates.non_linear,
    "model.output_mismatch": candidates.fitting_loss,
    "model.loss_mismatch": candidates.fitting_loss,
    "model.bad_init": candidates.other_init,
    "model.too_small": candidates.larger_network,
    "model.too_large": candidates.more_regularised,
    "norm.small_batch": candidates.other_norm,
    "norm.train_eval_gap": candidates.other_norm,
    "optim.lr_too_high": candidates.lower_lr,
    "optim.lr_too_low": candidates.higher_lr,
    "optim.oscillation": candidates.less_oscillation,
    "optim.plateau_saddle": candidates.escape_saddle,
    "optim.plateau_minimum": candidates.more_capacity,
    "optim.slow_convergence": candidates.faster_convergence,
    "optim.weight_decay_too_strong": candidates.less_decay,
    "optim.momentum_too_high": candidates.less_momentum,
    "optim.batch_too_small": candidates.larger_batch,
    "optim.batch_too_large": candidates.smaller_batch,
    "optim.no_warmup": candidates.warm_up,
    "optim.clipping_always": candidates.looser_clip,
    "gradient.vanishing": candidates.larger_gradient,
    "gradient.exploding": candidates.smaller_gradient,
    "activation.dead_relu": candidates.fewer_dead_units,
    "activation.saturated": candidates.less_saturation,
    "activation.collapsed": candidates.distinct_features,
    "numerics.nonfinite": candidates.finite_numbers,
    "numerics.half_range": candidates.wider_range,
    "fit.overfitting": candidates.more_regularised,
    "fit.underfitting": candidates.more_capacity,
    "fit.one_class": candidates.balanced_classes,
    "fit.not_learning": candidates.default_optimizer,
    "fit.regularisation_too_strong": candidates.less_regularised,
}

# Metric that decides on a remedy, where the run's own hides the fault: rare classes have little weight in accuracy.
JUDGED_BY = {"data.imbalance": "f1", "fit.one_class": "f1"}

# Reason why no setting is tested, by code or by family; the finding's own remedy says what to do instead.
NO_SETTING = {
    "data": message("no_setting.data", "the data must change, not a setting"),
    "pretrain": message("no_setting.pretrain", "short trainings do not show what a pretraining is worth"),
    "loop": message("no_setting.loop", "danlu's own loop has no setting for this; please report it"),
    "model": message("no_setting.model", "the network's code must change, not a setting"),
    "speed": message("no_setting.speed", "it only costs time, and changes are compared by their metric"),
    "numerics.updates_lost": message("no_setting.updates_lost", "danlu keeps the weights in float32; please report it"),
    "fit.stopped_early": message(
        "no_setting.stopped_early", "more epochs help, but changes are compared at equal numbers of epochs"
    ),
    "fit.trained_too_long": message(
        "no_setting.trained_too_long", "it only costs time; --regularise.patience stops the training earlier"
    ),
}

# Changes that a comparison of metrics after equal epochs cannot decide on.
UNTESTED: dict[str, Remedy] = {
    "fit.stopped_early": candidates.longer,
    "fit.trained_too_long": lambda case: [{"regularise.patience": max(2, (case.config.epochs or 1) // 5)}],
    "speed.device_idle": lambda case: [{"batch_size": max(case.usual("batch_size"), case.config.batch_size or 1)}],
}

# Changes that are proposed instead of those that `--heal` tests: an untested candidate may not help.
PROPOSED: dict[str, Remedy] = {"optim.slow_convergence": candidates.nearer_defaults_or_longer}

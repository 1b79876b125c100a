"""Changes of settings that may fix a finding, in the order in which to test them; one function for each idea."""

from __future__ import annotations

from dataclasses import fields

from danlu.advice.case import Case, Change
from danlu.config import AugmentConfig, Config, get
from danlu.learning.optim import find_optimizer
from danlu.task_spec import TASKS

SIGMOIDS = ("sigmoid", "tanh", "scaled-sigmoid", "scaled-tanh")  # activations that saturate at both ends
USUAL_MOMENTUM = 0.9
WARMUP_FRACTION = 0.05  # of all epochs
WIDER_LAYERS = (512, 256)  # units of the hidden layers of a multilayer perceptron that is too small
USUAL_DROPOUT = 0.2  # probability; above it a network that underfits gets less
STRONG_DROPOUT = 0.3  # probability, against overfitting
USUAL_SMOOTHING = 0.1  # label smoothing; above it a network that underfits gets none
MIN_NORM_BATCH = 32  # samples; batch norm has reliable statistics from here on
FAR_FACTOR = 10  # times the default learning rate; a value beyond it is no fix of one that is too high
LR_FAR_TOO_HIGH = 3  # times the default learning rate; from there on it is the likely cause
AUGMENTATIONS = ("none", "light", "strong")  # presets from weak to strong


# Learning rate, momentum, weight decay, batch size.


def lower_lr(case: Case) -> list[Change]:
    """The default learning rate if it is lower; then a tenth and a hundredth of the run's, if near that or below."""
    lr, usual = case.config.optim.lr or 0.0, case.usual("optim.lr")
    if usual >= 0.5 * lr:
        return [{"optim.lr": _round(lr / 10)}, {"optim.lr": _round(lr / 100)}]
    return [{"optim.lr": value} for value in (usual, _round(lr / 10), _round(lr / 100)) if value <= FAR_FACTOR * usual]


def higher_lr(case: Case) -> list[Change]:
    """The default learning rate if it is higher; then 10 and 100 times the run's."""
    lr = case.config.optim.lr or 0.0
    usual = [{"optim.lr": value} for value in [case.usual("optim.lr")] if value > 2 * lr]
    return [*usual, {"optim.lr": _round(lr * 10)}, {"optim.lr": _round(lr * 100)}]


def less_momentum(case: Case) -> list[Change]:
    """Momentum 0.9, at which a gradient acts for about ten steps; 0.5 if it is already at most 0.9; none without."""
    key = find_optimizer(case.config.optim.name or "").momentum
    if key is None:
        return []
    now = get(case.config, key)
    return [{key: USUAL_MOMENTUM} if now > USUAL_MOMENTUM else {key: 0.5}]


def less_oscillation(case: Case) -> list[Change]:
    """Momentum 0.9 where it is higher, then a lower learning rate."""
    return [*(change for change in less_momentum(case) if max(change.values()) == USUAL_MOMENTUM), *lower_lr(case)]


def warm_up(case: Case) -> list[Change]:
    """A warm-up of at least one epoch, or a quarter of a short training; then a lower learning rate."""
    epochs = case.config.epochs or 1
    return [{"schedule.warmup": _round(max(WARMUP_FRACTION * epochs, min(1.0, epochs / 4)))}, *lower_lr(case)]


def less_decay(case: Case) -> list[Change]:
    """Default weight decay; then a lower learning rate, as each step subtracts lr x decay x weight; then 1/30 of it."""
    decay, usual = case.config.optim.weight_decay or 0.0, case.usual("optim.weight_decay")
    default: list[Change] = [{"optim.weight_decay": usual, "optim.decay_all": False}] if usual < decay else []
    lr = lower_lr(case) if (case.config.optim.lr or 0) > 2 * case.usual("optim.lr") else []
    return [*default, *lr, {"optim.weight_decay": _round(decay / 30), "optim.decay_all": False}]


def larger_batch(case: Case) -> list[Change]:
    """Batches of 32; gradients accumulated over 8 batches; a lower learning rate."""
    return [{"batch_size": 32}, {"optim.accumulate": 8}, *lower_lr(case)]


def smaller_batch(case: Case) -> list[Change]:
    """The default batch size, alone and with the learning rate that fits it; then half of it."""
    usual = case.usual("batch_size")
    with_lr = {"batch_size": usual, "optim.lr": case.usual("optim.lr", {"batch_size": usual})}
    return [{"batch_size": usual}, with_lr, {"batch_size": max(16, usual // 2)}]


def looser_clip(case: Case) -> list[Change]:
    """Clip at twice the measured gradient norm, so that only rare large gradients are clipped."""
    raw, optim = case.evidence.get("raw"), case.config.optim
    looser: list[Change] = [{"optim.clip_norm": _round(2 * raw)}] if optim.clip_norm and raw else []
    return [*looser, {"optim.clip_value": _round(optim.clip_value * 100)}] if optim.clip_value else looser


def faster_convergence(case: Case) -> list[Change]:
    """The default learning rate if the run's is far from it; then another optimiser."""
    usual, lr = case.usual("optim.lr"), case.config.optim.lr or 0.0
    nearer: list[Change] = [{"optim.lr": usual}] if not 0.5 < lr / usual < 2 else []
    return [*nearer, _optimizer(case, "adamw"), _optimizer(case, "nesterov")]


def nearer_defaults_or_longer(case: Case) -> list[Change]:
    """The default learning rate and optimiser if the run has others; then twice the epochs.

    Without a test no optimiser is better than danlu's default for the network: one proposed to a run with the default,
    and the default to a run with the other, would alternate.
    """
    name = case.usual("optim.name")
    default = [_optimizer(case, name)] if name != case.config.optim.name else faster_convergence(case)[:-2]
    return [*default, *longer(case)]


def longer(case: Case) -> list[Change]:
    """Twice the epochs."""
    return [{"epochs": 2 * (case.config.epochs or 1)}]


def escape_saddle(case: Case) -> list[Change]:
    """Another initialisation, AdamW, a higher learning rate."""
    return [*other_init(case), _optimizer(case, "adamw"), *higher_lr(case)]


def more_capacity(case: Case) -> list[Change]:
    """Less regularisation, then a larger network: at a minimum the optimiser cannot lower the loss further."""
    return [*less_regularised(case), *larger_network(case)]


# Network, initialisation, activations.


def other_init(case: Case) -> list[Change]:
    """The network's own initialisation; He's and Glorot's where the run used its own (He et al. 2015)."""
    if case.config.model.init in (None, "default"):
        return [{"model.init": "he"}, {"model.init": "xavier"}]
    return [{"model.init": "default"}, {"model.init": "he"}]


def fewer_dead_units(case: Case) -> list[Change]:
    """Default learning rate if far exceeded, another initialisation, leaky ReLU, a lower learning rate."""
    leaky: list[Change] = [{"model.activation": "leaky"}] if case.takes("activation") else []
    return [*_lr_far_too_high(case), *other_init(case)[:1], *leaky, *lower_lr(case)]


def less_saturation(case: Case) -> list[Change]:
    """Default learning rate if far exceeded; ReLU, which saturates on one side only; Glorot's initialisation."""
    relu = {"model.activation": "relu", "model.init": "he"}
    return [*_lr_far_too_high(case), *([relu] if case.takes("activation") else []), {"model.init": "xavier"}]


def larger_gradient(case: Case) -> list[Change]:
    """Default learning rate if far exceeded, ReLU for sigmoids, batch norm, another initialisation."""
    saturating = case.config.model.activation in SIGMOIDS
    relu: list[Change] = [{"model.activation": "relu", "model.init": "he"}] if saturating else []
    return [*_lr_far_too_high(case), *relu, *_batch_norm(case), *other_init(case)[:1]]


def smaller_gradient(case: Case) -> list[Change]:
    """Default learning rate if far exceeded, another initialisation, clipping, batch norm, a lower learning rate."""
    clipped: list[Change] = [{"optim.clip_norm": 1.0}]
    return [*_lr_far_too_high(case), *other_init(case)[:1], *clipped, *_batch_norm(case), *lower_lr(case)]


def distinct_features(case: Case) -> list[Change]:
    """Changes against features that are equal for all samples.

    Causes: a learning rate far too high at the start, too much weight decay, too small initial weights.
    """
    decay = [change for change in less_decay(case)[:1] if "optim.lr" not in change]
    return [*_lr_far_too_high(case), *other_init(case)[:1], *decay, *_batch_norm(case), *lower_lr(case)[:1]]


def non_linear(case: Case) -> list[Change]:
    """ReLU; the default network where the run's has no choice of activation."""
    return [{"model.activation": "relu"}] if case.takes("activation") else [{"model.name": case.usual("model.name")}]


def larger_network(case: Case) -> list[Change]:
    """Unfreeze frozen layers; then wider layers; then the default network, with the learning rate that fits it."""
    unfrozen: list[Change] = [{"transfer.freeze": None}] if case.config.transfer.freeze else []
    wider: list[Change] = [{"model.width": WIDER_LAYERS}] if case.takes("width") else []
    name = case.usual("model.name")
    other = {"model.name": name} | {f"model.{option}": None for option in ("width", "dropout", "activation", "norm")}
    other |= {"optim.lr": case.usual("optim.lr", other)}
    return [*unfrozen, *wider, *([other] if name != case.config.model.name else [])]


def fitting_loss(case: Case) -> list[Change]:
    """The default loss of the task, without a ReLU after the last layer."""
    default: Change = {"loss.name": case.usual("loss.name")}
    return [default | ({"model.final_relu": False} if case.config.model.final_relu else {})]


def other_norm(case: Case) -> list[Change]:
    """Group norm, whose statistics do not depend on the other samples of a batch (Wu and He 2018); larger batches."""
    group: list[Change] = [{"model.norm": "group"}] if case.takes("norm") else []
    return [*group, {"batch_size": max(MIN_NORM_BATCH, case.usual("batch_size"))}]


# Overfitting and underfitting.


def less_regularised(case: Case) -> list[Change]:
    """Less dropout, weight decay, smoothing and augmentation, one by one; then all at once where several are high."""
    config, weaker = case.config, list[Change]()
    if (config.model.dropout or 0) > USUAL_DROPOUT:
        weaker.append({"model.dropout": USUAL_DROPOUT})
    usual = case.usual("optim.weight_decay")
    if (config.optim.weight_decay or 0) > 2 * usual:
        weaker.append({"optim.weight_decay": usual})
    if config.loss.smoothing > USUAL_SMOOTHING:
        weaker.append({"loss.smoothing": 0.0})
    weaker += weaker_augmentation(case)[:1]
    all_at_once = {key: value for change in weaker for key, value in change.items()}
    return [*weaker, all_at_once] if len(weaker) > 1 else weaker


def more_regularised(case: Case) -> list[Change]:
    """Stronger augmentation; then dropout (Srivastava et al. 2014); then ten times the weight decay."""
    config = case.config
    stronger = AUGMENTATIONS[AUGMENTATIONS.index(config.augment.preset or "none") + 1 :]
    usual, decay = case.usual("optim.weight_decay"), config.optim.weight_decay or 0.0
    has_room = case.takes("dropout") and (config.model.dropout or 0) < STRONG_DROPOUT
    dropout: list[Change] = [{"model.dropout": STRONG_DROPOUT}] if has_room else []
    augmented = [change for name in stronger for change in _augmented(case, name)]
    return [*augmented, *dropout, {"optim.weight_decay": _round(max(usual, 10 * decay))}]


def balanced_classes(case: Case) -> list[Change]:
    """No class weights where the user gave some; then weights, then batches, that balance the classes."""
    if not _classifies(case.config):
        return []
    given = case.config.loss.class_weights not in (None, "balanced", "root")
    unweighted: list[Change] = [{"loss.class_weights": None}] if given else []
    return [*unweighted, {"loss.class_weights": "balanced"}, {"data.balance": True}]


def tolerate_wrong_labels(case: Case) -> list[Change]:
    """Label smoothing (Szegedy et al. 2016, section 7) and weight decay; the Huber loss for regression."""
    if _classifies(case.config):
        return [{"loss.name": "cross-entropy", "loss.smoothing": 0.1}, *more_regularised(case)[-1:]]
    return [{"loss.name": "huber"}]


def weaker_augmentation(case: Case) -> list[Change]:
    """The run's preset without settings that make it stronger; then the weaker presets, the strongest first."""
    preset = case.config.augment.preset or "none"
    restored = [change for change in _augmented(case, preset) if _lowers(case, change)]
    weaker = reversed(AUGMENTATIONS[: AUGMENTATIONS.index(preset)])
    return [*restored, *(change for name in weaker for change in _augmented(case, name))]


def default_optimizer(case: Case) -> list[Change]:
    """Unfreeze frozen layers, danlu's default optimiser, another initialisation: for a loss that does not fall."""
    name = case.usual("optim.name")
    default = _optimizer(case, name) | {"optim.momentum": USUAL_MOMENTUM, "optim.beta1": USUAL_MOMENTUM}
    unfrozen: list[Change] = [{"transfer.freeze": None}] if case.config.transfer.freeze else []
    return [*unfrozen, default, *other_init(case)[:1]]


def finite_numbers(case: Case) -> list[Change]:
    """Default learning rate if far exceeded, fp32, another initialisation, clipping, a lower learning rate."""
    full: list[Change] = [{"precision": "fp32"}] if case.config.precision != "fp32" else []
    return [*_lr_far_too_high(case), *full, *other_init(case)[:1], {"optim.clip_norm": 1.0}, *lower_lr(case)]


def wider_range(case: Case) -> list[Change]:
    """Number formats with the exponent range of fp32."""
    return [{"precision": "bf16"}, {"precision": "fp32"}]


# Changes that several remedies share.


def _lr_far_too_high(case: Case) -> list[Change]:
    """The default learning rate if the run's is far above it: the likely cause of many other symptoms."""
    usual = case.usual("optim.lr")
    return [{"optim.lr": usual}] if (case.config.optim.lr or 0) > LR_FAR_TOO_HIGH * usual else []


def _optimizer(case: Case, name: str) -> Change:
    """An optimiser with the default learning rate and weight decay that fit it."""
    lr = case.usual("optim.lr", {"optim.name": name})
    decay = case.usual("optim.weight_decay", {"optim.name": name})
    return {"optim.name": name, "optim.lr": lr, "optim.weight_decay": decay}


def _batch_norm(case: Case) -> list[Change]:
    """Batch norm for networks that can have it and have no normalisation."""
    without = case.config.model.norm in (None, "none")
    return [{"model.norm": "batch"}] if case.takes("norm") and without else []


def _augmented(case: Case, preset: str) -> list[Change]:
    """All settings of a preset; its name alone would not replace the plain values of a run's config."""
    if case.preset is None:
        return []
    augmentation = case.preset(preset)
    return [{f"augment.{field.name}": getattr(augmentation, field.name) for field in fields(AugmentConfig)}]


def _lowers(case: Case, change: Change) -> bool:
    """Return whether a change lowers any number among the run's settings."""
    numbers = [(get(case.config, key), value) for key, value in change.items() if isinstance(value, int | float)]
    return any(value < now for now, value in numbers if isinstance(now, int | float))


def _classifies(config: Config) -> bool:
    return config.task is not None and TASKS[config.task].targets == "class"


def _round(value: float) -> float:
    """Round to three significant digits, as a user would type it."""
    return float(f"{value:.3g}")

"""Which change of settings may cure a finding: a table from its code to changes, in the order in which to try them.

Nothing is trained here, and nothing is promised: `healing/heal.py` tries a change against the run and keeps it if it
helps. What no setting can cure says why. A change is {dotted setting: value}, so that it can be pasted as flags.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from danlu.config import AugmentConfig, Config, get
from danlu.message import Message, message
from danlu.models.build import MODELS
from danlu.task_spec import TASKS

Change = dict[str, Any]

SIGMOIDS = ("sigmoid", "tanh", "scaled-sigmoid", "scaled-tanh")
ADAMS = ("adam", "adamw")
CALM = 0.05  # share of the epochs that a warm-up takes
WIDTH = (512, 256)  # of a multilayer perceptron that was too small
AUGMENTATIONS = ("none", "light", "strong")  # presets, each stronger than the one before


@dataclass(frozen=True)
class Case:
    """What a remedy may look at.

    config: every setting of the run. evidence: the finding's. usual: (setting, other settings) -> what danlu would
    choose for this data if that setting were left open. preset: the augmentation of that name in full, None for tables.
    """

    config: Config
    evidence: Mapping[str, Any]
    usual: Callable[..., Any]
    preset: Callable[[str], AugmentConfig] | None = None

    def takes(self, option: str) -> bool:
        """Whether the network heeds this field of `ModelConfig`."""
        name = self.config.model.name
        return name in MODELS and option in MODELS[name].options


Remedy = Callable[[Case], list[Change]]


def changes(code: str, case: Case) -> list[Change]:
    """The changes to try for a finding, each different from what the run has; none where no setting cures it."""
    return _different(REMEDIES, code, case)


def untried(code: str, case: Case) -> list[Change]:
    """Changes that are proposed, and not tried by `--heal`."""
    return _different(UNTRIED, code, case)


def _different(table: Mapping[str, Remedy], code: str, case: Case) -> list[Change]:
    found: list[Change] = []
    for change in table[code](case) if code in table else []:
        new = {key: value for key, value in change.items() if not _same(get(case.config, key), value)}
        if new and new not in found:
            found.append(new)
    return found


def as_flags(change: Mapping[str, Any]) -> str:
    """`--optim.lr 0.002 --model.width 512,256`, as the command line takes it."""
    return " ".join(f"--{key} {_text(value)}" for key, value in change.items())


# Rate, momentum, decay, batch.


def lower_rate(case: Case) -> list[Change]:
    """danlu's usual rate where it is lower; then a tenth, and a hundredth, of what it is."""
    rate = case.config.optim.lr or 0.0
    usual = [{"optim.lr": value} for value in [case.usual("optim.lr")] if value < 0.5 * rate]
    return [*usual, {"optim.lr": _round(rate / 10)}, {"optim.lr": _round(rate / 100)}]


def higher_rate(case: Case) -> list[Change]:
    rate = case.config.optim.lr or 0.0
    usual = [{"optim.lr": value} for value in [case.usual("optim.lr")] if value > 2 * rate]
    return [*usual, {"optim.lr": _round(rate * 10)}, {"optim.lr": _round(rate * 100)}]


def less_momentum(case: Case) -> list[Change]:
    """0.9 for the rule's own momentum: beyond it a gradient acts for more than ten steps."""
    key = "optim.beta1" if case.config.optim.name in ADAMS else "optim.momentum"
    now = get(case.config, key)
    return [{key: 0.9} if now > 0.9 else {key: 0.5}]


def calmer(case: Case) -> list[Change]:
    """Against bouncing: less momentum where it is high, then a lower rate."""
    momentum = less_momentum(case) if case.config.optim.name not in ("sgd", "adagrad") else []
    return [*(c for c in momentum if max(c.values()) == 0.9), *lower_rate(case)]


def warm_up(case: Case) -> list[Change]:
    epochs = case.config.epochs or 1
    return [{"schedule.warmup": _round(max(CALM * epochs, min(1.0, epochs / 4)))}, *lower_rate(case)]


def less_decay(case: Case) -> list[Change]:
    """The pull of decay is rate x decay, so that a rate far too high makes a usual decay too strong."""
    decay, usual = case.config.optim.weight_decay or 0.0, case.usual("optim.weight_decay")
    sooner: list[Change] = [{"optim.weight_decay": usual, "optim.decay_all": False}] if usual < decay else []
    rate = lower_rate(case) if (case.config.optim.lr or 0) > 2 * case.usual("optim.lr") else []
    return [*sooner, *rate, {"optim.weight_decay": _round(decay / 30), "optim.decay_all": False}]


def larger_batch(case: Case) -> list[Change]:
    return [{"batch_size": 32}, {"optim.accumulate": 8}, *lower_rate(case)]


def smaller_batch(case: Case) -> list[Change]:
    """danlu's batch for so many samples, with the rate that goes with it."""
    usual = case.usual("batch_size")
    with_rate = {"batch_size": usual, "optim.lr": case.usual("optim.lr", {"batch_size": usual})}
    return [{"batch_size": usual}, with_rate, {"batch_size": max(16, usual // 2)}]


def looser_clip(case: Case) -> list[Change]:
    """Above the usual norm of the gradient, so that only the rare large ones are cut."""
    raw, optim = case.evidence.get("raw"), case.config.optim
    looser: list[Change] = [{"optim.clip_norm": _round(2 * raw)}] if optim.clip_norm and raw else []
    return [*looser, {"optim.clip_value": _round(optim.clip_value * 100)}] if optim.clip_value else looser


def quicker(case: Case) -> list[Change]:
    """Another update rule, or a rate nearer to the usual: the same epochs must take it further."""
    return [*_towards_usual_rate(case), _rule(case, "adamw"), _rule(case, "nesterov")]


def off_the_saddle(case: Case) -> list[Change]:
    return [*usual_start(case), _rule(case, "adamw"), *higher_rate(case)]


def less_held_back(case: Case) -> list[Change]:
    """At a minimum only what holds the weights back, or the network, is left to change."""
    return [*less_regularised(case), *larger_network(case)]


# The network, its first weights and its activations.


def usual_start(case: Case) -> list[Change]:
    """The network's own first weights; He's where these were its own (He et al. 2015)."""
    own = case.config.model.init in (None, "default")
    return (
        [{"model.init": "he"}, {"model.init": "xavier"}] if own else [{"model.init": "default"}, {"model.init": "he"}]
    )


def living_units(case: Case) -> list[Change]:
    leaky: list[Change] = [{"model.activation": "leaky"}] if case.takes("activation") else []
    return [*_too_fast(case), *usual_start(case)[:1], *leaky, *lower_rate(case)]


def open_units(case: Case) -> list[Change]:
    """Units at the end of their range: ReLU has but one end."""
    relu = {"model.activation": "relu", "model.init": "he"}
    return [*_too_fast(case), *([relu] if case.takes("activation") else []), {"model.init": "xavier"}]


def flowing_gradient(case: Case) -> list[Change]:
    sigmoid = case.config.model.activation in SIGMOIDS
    relu: list[Change] = [{"model.activation": "relu", "model.init": "he"}] if sigmoid else []
    return [*_too_fast(case), *relu, *_normalised(case), *usual_start(case)[:1]]


def tamed_gradient(case: Case) -> list[Change]:
    return [*_too_fast(case), *usual_start(case)[:1], {"optim.clip_norm": 1.0}, *_normalised(case), *lower_rate(case)]


def distinct_features(case: Case) -> list[Change]:
    """Features alike for all samples: too fast a start, too much decay, or first weights that are too small."""
    decay = [c for c in less_decay(case)[:1] if "optim.lr" not in c]
    return [*_too_fast(case), *usual_start(case)[:1], *decay, *_normalised(case), *lower_rate(case)[:1]]


def non_linear(case: Case) -> list[Change]:
    return [{"model.activation": "relu"}] if case.takes("activation") else [{"model.name": case.usual("model.name")}]


def larger_network(case: Case) -> list[Change]:
    """Unfrozen first, for what is frozen is room that is there; then wider, then the network danlu would choose."""
    free: list[Change] = [{"transfer.freeze": None}] if case.config.transfer.freeze else []
    wider: list[Change] = [{"model.width": WIDTH}] if case.takes("width") else []
    name = case.usual("model.name")
    other = {"model.name": name} | {f"model.{option}": None for option in ("width", "dropout", "activation", "norm")}
    other |= {"optim.lr": case.usual("optim.lr", other)}
    return [*free, *wider, *([other] if name != case.config.model.name else [])]


def fitting_loss(case: Case) -> list[Change]:
    plain: Change = {"loss.name": case.usual("loss.name")}
    return [plain | ({"model.final_relu": False} if case.config.model.final_relu else {})]


def other_norm(case: Case) -> list[Change]:
    """Statistics of a sample's own channels do not depend on its neighbours (Wu and He 2018)."""
    group: list[Change] = [{"model.norm": "group"}] if case.takes("norm") else []
    return [*group, {"batch_size": max(32, case.usual("batch_size"))}]


# The fit.


def less_regularised(case: Case) -> list[Change]:
    """Dropout, decay, smoothing and augmentation back to what is usual; all of them at once where several are high."""
    config, loose = case.config, list[Change]()
    if (config.model.dropout or 0) > 0.2:
        loose.append({"model.dropout": 0.2 if config.model.dropout != 0.2 else 0.0})
    usual = case.usual("optim.weight_decay")
    if (config.optim.weight_decay or 0) > 2 * usual:
        loose.append({"optim.weight_decay": usual})
    if config.loss.smoothing > 0.1:
        loose.append({"loss.smoothing": 0.0})
    loose += _weaker_augmentation(case)[:1]
    together = {key: value for change in loose for key, value in change.items()}
    return [*loose, together] if len(loose) > 1 else loose


def more_regularised(case: Case) -> list[Change]:
    """More images, as it were, by augmentation; then decay; then dropout (Srivastava et al. 2014)."""
    config = case.config
    stronger = AUGMENTATIONS[AUGMENTATIONS.index(config.augment.preset or "none") + 1 :]
    usual, decay = case.usual("optim.weight_decay"), config.optim.weight_decay or 0.0
    more = [{"optim.weight_decay": _round(max(usual, 10 * decay))}]
    drop = [{"model.dropout": 0.3}] if case.takes("dropout") and (config.model.dropout or 0) < 0.3 else []
    return [change for name in stronger for change in _augmented(case, name)] + drop + more


def weighed_classes(case: Case) -> list[Change]:
    """Balanced; before that no weights at all, where somebody chose them by hand."""
    if not _classifies(case.config):
        return []
    by_hand = case.config.loss.class_weights not in (None, "balanced")
    plain: list[Change] = [{"loss.class_weights": None}] if by_hand else []
    return [*plain, {"loss.class_weights": "balanced"}, {"data.balance": True}]


def tolerant(case: Case) -> list[Change]:
    """Labels that are wrong here and there must not be believed wholly (Szegedy et al. 2016, section 7)."""
    if _classifies(case.config):
        return [{"loss.name": "cross-entropy", "loss.smoothing": 0.1}, *more_regularised(case)[-1:]]
    return [{"loss.name": "huber"}]


def harmless_augmentation(case: Case) -> list[Change]:
    return _weaker_augmentation(case)


def begin_again(case: Case) -> list[Change]:
    """Nothing in particular stands out: what sets the pace, as danlu would choose it."""
    name = case.usual("optim.name")
    pace = {"optim.name": name, "optim.lr": case.usual("optim.lr", {"optim.name": name}), "optim.momentum": 0.9}
    pace |= {"optim.beta1": 0.9, "optim.weight_decay": case.usual("optim.weight_decay", {"optim.name": name})}
    unfrozen: list[Change] = [{"transfer.freeze": None}] if case.config.transfer.freeze else []
    return [*unfrozen, pace, *usual_start(case)[:1]]


def finite(case: Case) -> list[Change]:
    full: list[Change] = [{"precision": "fp32"}] if case.config.precision != "fp32" else []
    return [*_too_fast(case), *full, *usual_start(case)[:1], {"optim.clip_norm": 1.0}, *lower_rate(case)]


def wider_range(case: Case) -> list[Change]:
    return [{"precision": "bf16"}, {"precision": "fp32"}]


# What several of them are made of.


def _too_fast(case: Case) -> list[Change]:
    """A rate far above the usual is the likelier cause, whatever it did first."""
    usual = case.usual("optim.lr")
    return [{"optim.lr": usual}] if (case.config.optim.lr or 0) > 3 * usual else []


def _towards_usual_rate(case: Case) -> list[Change]:
    usual, rate = case.usual("optim.lr"), case.config.optim.lr or 0.0
    return [{"optim.lr": usual}] if not 0.5 < rate / usual < 2 else []


def _rule(case: Case, name: str) -> Change:
    rate = case.usual("optim.lr", {"optim.name": name})
    decay = case.usual("optim.weight_decay", {"optim.name": name})
    return {"optim.name": name, "optim.lr": rate, "optim.weight_decay": decay}


def _normalised(case: Case) -> list[Change]:
    bare = case.config.model.norm in (None, "none")
    return [{"model.norm": "batch"}] if case.takes("norm") and bare else []


def _augmented(case: Case, preset: str) -> list[Change]:
    """Every setting of that preset: in a run's config each is a plain value, which the preset's name alone would not
    change."""
    if case.preset is None:
        return []
    whole = case.preset(preset)
    return [{f"augment.{f.name}": getattr(whole, f.name) for f in fields(AugmentConfig)}]


def _weaker_augmentation(case: Case) -> list[Change]:
    """What was laid over the preset undone, where it made it stronger; then the weaker presets, the strongest first."""
    named = case.config.augment.preset or "none"
    undone = [change for change in _augmented(case, named) if _lowers(case, change)]
    weaker = reversed(AUGMENTATIONS[: AUGMENTATIONS.index(named)])
    return [*undone, *(change for preset in weaker for change in _augmented(case, preset))]


def _lowers(case: Case, change: Change) -> bool:
    """Whether a number of the run's becomes smaller."""
    numbers = [(get(case.config, key), value) for key, value in change.items() if isinstance(value, int | float)]
    return any(value < now for now, value in numbers if isinstance(now, int | float))


def _round(value: float) -> float:
    """Three significant digits: nobody wants to paste more."""
    return float(f"{value:.3g}")


def _same(now: Any, then: Any) -> bool:
    return now == then or (isinstance(now, list | tuple) and list(now) == list(then or ()))


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


REMEDIES: dict[str, Remedy] = {
    "data.augmentation_harmful": harmless_augmentation,
    "data.imbalance": weighed_classes,
    "data.label_noise": tolerant,
    "model.no_nonlinearity": non_linear,
    "model.output_mismatch": fitting_loss,
    "model.loss_mismatch": fitting_loss,
    "model.bad_init": usual_start,
    "model.too_small": larger_network,
    "model.too_large": more_regularised,
    "norm.small_batch": other_norm,
    "norm.train_eval_gap": other_norm,
    "optim.lr_too_high": lower_rate,
    "optim.lr_too_low": higher_rate,
    "optim.oscillation": calmer,
    "optim.plateau_saddle": off_the_saddle,
    "optim.plateau_minimum": less_held_back,
    "optim.slow_convergence": quicker,
    "optim.weight_decay_too_strong": less_decay,
    "optim.momentum_too_high": less_momentum,
    "optim.batch_too_small": larger_batch,
    "optim.batch_too_large": smaller_batch,
    "optim.no_warmup": warm_up,
    "optim.clipping_always": looser_clip,
    "gradient.vanishing": flowing_gradient,
    "gradient.exploding": tamed_gradient,
    "activation.dead_relu": living_units,
    "activation.saturated": open_units,
    "activation.collapsed": distinct_features,
    "numerics.nonfinite": finite,
    "numerics.half_range": wider_range,
    "fit.overfitting": more_regularised,
    "fit.underfitting": less_held_back,
    "fit.one_class": weighed_classes,
    "fit.not_learning": begin_again,
    "fit.regularisation_too_strong": less_regularised,
}

# Metrics by which a remedy is judged, where the run's own hides what is wrong: rare classes weigh little in accuracy.
JUDGED_BY = {"data.imbalance": "f1", "fit.one_class": "f1"}

# Why no setting is tried, by code or by family; the finding's own words say what to do.
NO_SETTING = {
    "data": message("no_setting.data", "the data must change, not a setting"),
    "loop": message("no_setting.loop", "danlu's own loop has no setting for this; please report it"),
    "model": message("no_setting.model", "the network's code must change, not a setting"),
    "speed": message("no_setting.speed", "it costs time, and A and B are compared by their metric"),
    "fit.stopped_early": message(
        "no_setting.stopped_early", "more epochs help, but A and B get the same number of them"
    ),
    "fit.trained_too_long": message(
        "no_setting.trained_too_long", "it costs time, not accuracy; --regularise.patience ends it sooner"
    ),
}

# What no trial can judge, but a person may well do.
UNTRIED: dict[str, Remedy] = {
    "fit.stopped_early": lambda case: [{"epochs": 2 * (case.config.epochs or 1)}],
    "fit.trained_too_long": lambda case: [{"regularise.patience": max(2, (case.config.epochs or 1) // 5)}],
    "speed.device_idle": lambda case: [{"batch_size": max(case.usual("batch_size"), case.config.batch_size or 1)}],
}


def why_not(code: str) -> Message:
    return (
        NO_SETTING.get(code)
        or NO_SETTING.get(code.partition(".")[0])
        or message("no_setting.other", "no setting is known to fix it")
    )


def without_remedy(codes: Iterable[str]) -> list[str]:
    """Codes of findings for which neither a change of settings nor a reason against one is listed."""
    return [code for code in codes if code not in REMEDIES | NO_SETTING and code.partition(".")[0] not in NO_SETTING]


def _classifies(config: Config) -> bool:
    return config.task is not None and TASKS[config.task].targets == "class"

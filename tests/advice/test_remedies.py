"""Remedies: every finding has changes or a reason against them, and each change is valid in a config."""

from __future__ import annotations

import pytest

from danlu.advice.case import Case, as_flags
from danlu.advice.remedies import JUDGED_BY, REMEDIES, changes, why_not, without_remedy
from danlu.config import AugmentConfig, Config, with_values
from danlu.doctor.findings.table import FINDINGS

RUN = {"model": "mlp", "epochs": 20, "batch_size": 32, "task": "classify", "augment": "none", "precision": "fp32"}
USUAL = {
    "optim.lr": 3e-3,
    "optim.weight_decay": 1e-2,
    "batch_size": 32,
    "optim.name": "adamw",
    "model.name": "small-cnn",
}


def usual(key, given=None):
    return (given or {}).get(key) or USUAL.get(key, "cross-entropy")


def case(evidence=None, **settings) -> Case:
    plain = RUN | {"optim.name": "adamw", "optim.lr": 3e-3, "optim.weight_decay": 0.01} | settings
    return Case(
        with_values(Config(), plain), evidence or {}, usual, lambda name: AugmentConfig(preset=name, rotate=10.0)
    )


def test_a_new_finding_needs_no_entry():
    """Findings without an entry are listed by `without_remedy`, and no change is tried for them."""
    assert without_remedy(["unheard.of", *FINDINGS])[0] == "unheard.of"
    assert not set(without_remedy(FINDINGS)) & set(REMEDIES)
    assert changes("unheard.of", case()) == []
    assert why_not("unheard.of").startswith("no setting is known")
    assert {*REMEDIES, *JUDGED_BY} <= set(FINDINGS), "a code that no rule finds"
    assert "equal numbers of epochs" in why_not("fit.stopped_early")


@pytest.mark.parametrize("code", REMEDIES)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lr": 3.0, "optim.weight_decay": 5.0, "model.dropout": 0.9, "optim.clip_norm": 0.001},
        {"lr": 1e-6, "model": "vgg11", "optim.name": "momentum", "model.init": "zero", "freeze": "stem"},
    ],
    ids=["usual", "wild", "slow"],
)
def test_changes_are_valid_settings_that_differ_from_the_run_and_can_be_pasted(code, settings):
    run_case = case({"raw": 3.0}, **settings)
    found = changes(code, run_case)
    assert len(found) == len({as_flags(change) for change in found})
    for change in found:
        changed = with_values(run_case.config, change)
        assert changed != run_case.config
        words = as_flags(change).split()
        pasted = {flag.removeprefix("--"): value for flag, value in zip(words[::2], words[1::2])}
        if None not in change.values() or set(change) == {"transfer.freeze"}:
            assert with_values(run_case.config, pasted) == changed


@pytest.mark.parametrize(
    ("code", "settings", "first"),
    [
        ("optim.lr_too_high", {"lr": 3.0}, {"optim.lr": 3e-3}),
        ("optim.lr_too_high", {"lr": 4e-3}, {"optim.lr": 4e-4}),
        ("optim.lr_too_low", {"lr": 1e-6}, {"optim.lr": 3e-3}),
        ("optim.weight_decay_too_strong", {"optim.weight_decay": 10.0}, {"optim.weight_decay": 0.01}),
        ("optim.weight_decay_too_strong", {"lr": 3.0}, {"optim.lr": 3e-3}),
        ("optim.momentum_too_high", {"optim.name": "momentum", "optim.momentum": 0.999}, {"optim.momentum": 0.9}),
        ("optim.momentum_too_high", {"optim.beta1": 0.999}, {"optim.beta1": 0.9}),
        ("optim.no_warmup", {}, {"schedule.warmup": 1.0}),
        ("activation.dead_relu", {"lr": 3.0}, {"optim.lr": 3e-3}),
        ("activation.dead_relu", {}, {"model.init": "he"}),
        ("model.bad_init", {"model.init": "zero"}, {"model.init": "default"}),
        ("gradient.vanishing", {"model.activation": "sigmoid"}, {"model.activation": "relu", "model.init": "he"}),
        ("fit.regularisation_too_strong", {"model.dropout": 0.9}, {"model.dropout": 0.2}),
        ("fit.overfitting", {}, {"augment.preset": "light", "augment.rotate": 10.0}),
        ("fit.underfitting", {"freeze": "all-but-head"}, {"transfer.freeze": None}),
        ("data.imbalance", {}, {"loss.class_weights": "balanced"}),
        ("fit.one_class", {"loss.class_weights": (200.0, 1.0)}, {"loss.class_weights": None}),
        ("fit.one_class", {}, {"loss.class_weights": "balanced"}),
        ("numerics.nonfinite", {"precision": "fp16"}, {"precision": "fp32"}),
    ],
)
def test_first_change(code, settings, first):
    assert changes(code, case(**settings))[0] == first


@pytest.mark.parametrize("code", ["data.augmentation_harmful", "fit.regularisation_too_strong"])
def test_setting_added_to_a_preset_is_removed(code):
    turned = case(**{"augment": "none", "augment.rotate": 180.0})
    assert changes(code, turned)[0] == {"augment.rotate": 10.0}, "the value of the presets in `case`"
    assert changes(code, case(**{"augment": "none", "augment.rotate": 5.0})) == [], "the preset would be stronger"


@pytest.mark.parametrize("code", REMEDIES)
def test_a_fine_tuning_is_not_offered_another_network_initialisation_or_optimiser(code):
    found = changes(code, case({"raw": 3.0}, **{"transfer.init": "efficientnet-lite0", "optim.clip_norm": 0.001}))
    unsuitable = {"optim.name", "model.name", "model.init", "model.norm", "model.activation", "model.width"}
    assert not [change for change in found if unsuitable & set(change)]


def test_weaker_presets_are_tested_from_strong_to_weak():
    found = changes("data.augmentation_harmful", case(**{"augment": "strong", "augment.rotate": 10.0}))
    assert [change["augment.preset"] for change in found] == ["light", "none"]


def test_clip_norm_is_raised_above_the_measured_norm():
    assert changes("optim.clipping_always", case({"raw": 3.0}, **{"optim.clip_norm": 0.01})) == [
        {"optim.clip_norm": 6.0}
    ]

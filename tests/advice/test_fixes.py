"""Remedies of findings at danlu's own runs: flags of the command line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from danlu.advice.fixes import fixes, flags_of
from danlu.config import AugmentConfig, Config, with_values
from danlu.data.augmentation.presets import resolve
from danlu.doctor.finding import Finding

RUN = {
    "data.size": 28, "data.colour": "grey", "task": "classify", "model.name": "lenet", "epochs": 10, "batch_size": 128,
    "optim.name": "adamw", "optim.lr": 1.0, "optim.weight_decay": 0.01, "loss.name": "cross-entropy",
    "augment.preset": "none", "schedule.name": "one-cycle",
}  # fmt: skip


def remedy(code: str, language: str = "en", **evidence: object) -> str:
    finding = Finding(code, "warning", 0.9, "", evidence, remedy="for g in optimizer.param_groups: g['lr'] /= 10")
    return fixes(with_values(Config(), RUN), 50_000, language)(finding).remedy


def test_remedy_of_a_high_learning_rate_is_a_flag() -> None:
    assert remedy("optim.lr_too_high") == "Try --lr 0.003, or --lr 0.01."
    assert remedy("optim.lr_too_high", "zh") == "请试 --lr 0.003，或 --lr 0.01。"


@pytest.mark.parametrize(
    ("code", "flag"),
    [
        ("gradient.exploding", "--lr 0.003"),
        ("fit.overfitting", "--augment light"),
        ("fit.stopped_early", "--epochs 20"),
        ("data.imbalance", "--loss.class-weights balanced"),
    ],
)
def test_flags_of_other_findings(code: str, flag: str) -> None:
    assert flag in remedy(code)
    assert "optimizer" not in remedy(code)


def test_default_batch_size_is_not_proposed() -> None:
    assert remedy("speed.device_idle") == "for g in optimizer.param_groups: g['lr'] /= 10", "128 is the default"


def test_remedy_without_a_setting_is_unchanged() -> None:
    assert remedy("data.leak") == "for g in optimizer.param_groups: g['lr'] /= 10"


def test_flags_are_in_their_short_form() -> None:
    assert flags_of({"optim.lr": 0.003, "optim.clip_norm": 1.0}) == "--lr 0.003 --optim.clip-norm 1"
    assert flags_of({"model.name": "lenet", "model.norm": None}) == "--model lenet --model.norm none"
    assert flags_of({"augment.preset": "light", "augment.flip": "lr", "augment.pad": 4}) == "--augment light"


def test_setting_added_to_a_preset_is_removed() -> None:
    plain = resolve(AugmentConfig(preset="none", rotate=180.0), size=28, channels=1, classes=10)
    config = replace(with_values(Config(), RUN), augment=plain)
    finding = Finding("data.augmentation_harmful", "warning", 0.9, "", {}, remedy="look at the images")
    assert fixes(config, 50_000)(finding).remedy == "Try --augment.rotate 0."

"""At danlu's own runs the cure is what to type."""

from __future__ import annotations

from dataclasses import replace

import pytest

from danlu.advice.fixes import cures, flags_of
from danlu.config import AugmentConfig, Config, with_values
from danlu.data.presets import resolve
from danlu.doctor.finding import Finding

RUN = {
    "data.size": 28, "data.colour": "grey", "task": "classify", "model.name": "lenet", "epochs": 10, "batch_size": 128,
    "optim.name": "adamw", "optim.lr": 1.0, "optim.weight_decay": 0.01, "loss.name": "cross-entropy",
    "augment.preset": "none", "schedule.name": "one-cycle",
}  # fmt: skip


def cure(code: str, language: str = "en", **evidence: object) -> str:
    finding = Finding(code, "warning", 0.9, "", evidence, remedy="for g in optimizer.param_groups: g['lr'] /= 10")
    return cures(with_values(Config(), RUN), 50_000, language)(finding).remedy


def test_a_rate_too_high_is_cured_by_a_flag() -> None:
    assert cure("optim.lr_too_high") == "Try --lr 0.003, or --lr 0.1."
    assert cure("optim.lr_too_high", "zh") == "请试 --lr 0.003，或 --lr 0.1。"


@pytest.mark.parametrize(
    ("code", "flag"),
    [
        ("gradient.exploding", "--lr 0.003"),
        ("fit.overfitting", "--augment light"),
        ("fit.stopped_early", "--epochs 20"),
        ("data.imbalance", "--loss.class-weights balanced"),
    ],
)
def test_flags_of_the_table(code: str, flag: str) -> None:
    assert flag in cure(code)
    assert "optimizer" not in cure(code)


def test_a_batch_that_is_the_usual_one_is_not_proposed() -> None:
    assert cure("speed.device_idle") == "for g in optimizer.param_groups: g['lr'] /= 10", "128 is more than the usual"


def test_what_no_setting_cures_keeps_its_words() -> None:
    assert cure("data.leak") == "for g in optimizer.param_groups: g['lr'] /= 10"


def test_flags_are_spelt_as_people_type_them() -> None:
    assert flags_of({"optim.lr": 0.003, "optim.clip_norm": 1.0}) == "--lr 0.003 --optim.clip-norm 1"
    assert flags_of({"model.name": "lenet", "model.norm": None}) == "--model lenet --model.norm none"
    assert flags_of({"augment.preset": "light", "augment.flip": "lr", "augment.pad": 4}) == "--augment light"


def test_what_was_laid_over_an_augmentation_is_taken_off() -> None:
    plain = resolve(AugmentConfig(preset="none", rotate=180.0), size=28, channels=1, classes=10)
    config = replace(with_values(Config(), RUN), augment=plain)
    finding = Finding("data.augmentation_harmful", "warning", 0.9, "", {}, remedy="look at the images")
    assert cures(config, 50_000)(finding).remedy == "Try --augment.rotate 0."

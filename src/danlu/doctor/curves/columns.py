"""Meaning of the names of curves: training or validation loss, learning rate, metric, norm of the gradient."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

VALIDATION = {"val", "valid", "validation", "eval", "test", "dev"}
TRAINING = {"train", "training"}
TOTAL = {"total", "avg", "mean", "epoch", "step", "batch", "running", "all", "sum", "overall"}
PARTS_OF_SEVERAL_MODELS = {
    "g", "d", "gen", "disc", "generator", "discriminator", "adv", "adversarial", "critic", "actor", "policy", "value",
}  # fmt: skip
REWARD = {"reward", "rew", "rollout", "return", "returns"}
BETTER_HIGHER = {
    "acc", "accuracy", "map", "map50", "map5095", "ap", "ap50", "f1", "auc", "auroc", "precision", "recall", "iou",
    "miou", "dice", "top1", "top5", "r2", "bleu", "rouge",
}  # fmt: skip
LEARNING_RATE = {"lr", "lr0", "pg0"}


@lru_cache(maxsize=4096)
def words_of(name: str) -> tuple[str, ...]:
    """Lower-case words of a name: "metrics/mAP50-95(B)" gives metrics, map50, 95, b; "trainLoss" train, loss."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", name.strip())
    return tuple(word for word in re.split(r"[^a-z0-9]+", split.lower()) if word)


def is_loss(name: str) -> bool:
    """Return whether a curve is a loss."""
    return "loss" in words_of(name)


def is_validation(name: str) -> bool:
    """Return whether a curve is of the validation or test set."""
    return bool(VALIDATION & set(words_of(name)))


def is_learning_rate(name: str) -> bool:
    """Return whether the name of a curve is that of a learning rate: lr, lr/group0, learning_rate."""
    words = words_of(name)
    return bool(words) and (
        words[0] in LEARNING_RATE or words[-1] in LEARNING_RATE or "learning rate" in " ".join(words)
    )


def is_gradient_norm(name: str) -> bool:
    """Return whether the name of a curve holds the words grad (or gradient) and norm."""
    return {"grad", "norm"} <= set(words_of(name)) or {"gradient", "norm"} <= set(words_of(name))


def is_metric(name: str) -> bool:
    """Return whether a curve is a metric whose higher values are better."""
    return bool(BETTER_HIGHER & set(words_of(name))) and not is_loss(name)


def is_reinforcement(names: Iterable[str]) -> bool:
    """Return whether the curves are of reinforcement learning, whose loss need not fall."""
    return any(REWARD & set(words_of(name)) for name in names)


def part_of_loss(name: str) -> tuple[str, ...]:
    """Words of a loss beside the split and "loss": () is the loss as a whole, (box,) one of its terms."""
    others = VALIDATION | TRAINING | TOTAL | {"loss", "losses"}
    return tuple(word for word in words_of(name) if word not in others)

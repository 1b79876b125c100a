"""Access to settings by dotted key, with the type of each, read once from its annotation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from danlu.config.tree import Config

# Short names of the settings used most: `--lr 0.1`, `danlu.train(path, lr=0.1)`. A section's own name stands for its
# first field (`model`, `schedule`, `loss`, `augment`).
SHORT = {
    "optimizer": "optim.name",
    "lr": "optim.lr",
    "target": "data.target",
    "format": "data.format",
    "val": "data.val",
    "test": "data.test",
    "split": "data.split",
    "folds": "data.folds",
    "refit": "data.refit",
    "on_bad": "data.on_bad",
    "follow_links": "data.follow_links",
    "size": "data.size",
    "tokens": "data.tokens",
    "frames": "data.frames",
    "workers": "data.workers",
    "transform": "data.transform",
    "scheduler": "schedule.name",
    "init": "transfer.init",
    "pretrained": "transfer.init",
    "freeze": "transfer.freeze",
    "sparse": "model.sparse",
    "backbone": "detect.backbone",
    "lang": "doctor.language",
}
# Names of settings in other libraries, for refusals.
SYNONYMS = {
    "learning_rate": "lr",
    "num_epochs": "epochs",
    "n_epochs": "epochs",
    "batch": "batch_size",
    "bs": "batch_size",
    "num_workers": "workers",
    "tensorboard": "log",
    "wandb": "log",
    "mlflow": "log",
    "trackio": "log",
    "logger": "log",
    "loggers": "log",
    "criterion": "loss",
    "loss_fn": "loss",
    "opt": "optimizer",
    "lr_scheduler": "scheduler",
    "train_data": "data",
    "train_loader": "data",
    "train_dataset": "data",
    "dataset": "data",
    "loader": "data",
    "validation_data": "val",
    "val_data": "val",
    "val_loader": "val",
    "val_dataset": "val",
    "valid": "val",
    "validation": "val",
    "validation_split": "val",
    "test_data": "test",
    "test_loader": "test",
    "test_dataset": "test",
    "image_size": "size",
    "img_size": "size",
    "imgsz": "size",
    "label": "target",
    "network": "model",
    "net": "model",
    "weights": "pretrained",
    "patience": "regularise.patience",
    "early_stopping": "regularise.patience",
    "wd": "optim.weight_decay",
    "batchsize": "batch_size",
    "verbose": "console",
    "language": "lang",
}
# Former names of settings, which configs, weights files and commands of earlier versions have.
FORMER = {"detect.positive_share": "detect.positive_fraction"}
# On the command line, names of sections are short for their first fields.
SHORT_FLAGS = SHORT | {
    "model": "model.name",
    "schedule": "schedule.name",
    "loss": "loss.name",
    "augment": "augment.preset",
}


@dataclass(frozen=True)
class Setting:
    """One setting of the tree.

    key: its dotted place. text: one-line description. members: the types it may have, without None; a type is a
    class, a Literal, or tuple[...]. length: number of values of a tuple, where it is fixed.
    """

    key: str
    default: Any
    text: str
    members: tuple[Any, ...]
    length: int | None = None

    @property
    def choices(self) -> tuple[str, ...]:
        """Words it may be, where its type lists them."""
        return tuple(word for one in self.members if get_origin(one) is Literal for word in get_args(one))

    @property
    def is_switch(self) -> bool:
        """Return whether the setting takes true and false."""
        return bool in self.members

    @property
    def is_list(self) -> bool:
        """Return whether the setting takes several values."""
        return any(get_origin(one) is tuple for one in self.members)


@lru_cache
def keys() -> dict[str, Setting]:
    """Every setting by its dotted key.

    >>> keys()["optim.momentum"].default
    0.9
    """
    return {setting.key: setting for setting in _settings(Config, "")}


@lru_cache
def sections() -> dict[str, type]:
    """Names of the sections of the tree, and their classes."""
    return dict(_sections(Config))


def get(config: Config, key: str) -> Any:
    """Value of the setting with this dotted key."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def changed(config: Config) -> dict[str, Any]:
    """Settings that differ from their default, by dotted key."""
    return {key: get(config, key) for key, setting in keys().items() if get(config, key) != setting.default}


def _sections(kind: type) -> Iterator[tuple[str, type]]:
    for name, hint in get_type_hints(kind).items():
        if isinstance(hint, type) and is_dataclass(hint):
            yield name, hint


def _settings(kind: type, prefix: str) -> Iterator[Setting]:
    hints, inner = get_type_hints(kind, include_extras=True), dict(_sections(kind))
    for field in fields(kind):
        if field.name in inner:
            yield from _settings(inner[field.name], f"{field.name}.")
        else:
            members = tuple(_members(hints[field.name]))
            lengths = [length for _, length in members if length is not None]
            yield Setting(
                f"{prefix}{field.name}",
                field.default,
                field.metadata["text"],
                tuple(kind for kind, _ in members),
                lengths[0] if lengths else None,
            )


def _members(hint: Any, length: int | None = None) -> Iterator[tuple[Any, int | None]]:
    """Types in a union, without None and without Annotated, each with the length that Annotated fixes."""
    if get_origin(hint) is Annotated:
        inner, *extras = get_args(hint)
        yield from _members(inner, next((n for n in map(_fixed_length, extras) if n is not None), length))
    elif get_origin(hint) in (Union, UnionType):
        for one in get_args(hint):
            yield from _members(one, length)
    elif hint is not NoneType:
        yield hint, length


def _fixed_length(extra: Any) -> int | None:
    """Length that a pydantic Field fixes."""
    return next((n for n in (getattr(one, "min_length", None) for one in getattr(extra, "metadata", ())) if n), None)

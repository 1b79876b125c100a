"""`ResolvedConfig`: the same tree with no open setting, as everything that trains takes it.

Its sections narrow the types of those settings that are never open. Defaults are in `config/tree.py` only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from danlu.config.tree import (
    AugmentConfig,
    Config,
    DataConfig,
    ModelConfig,
    OptimConfig,
    ScheduleConfig,
)
from danlu.config.values import AugmentPreset, OptimizerName, OwnName, Precision, ScheduleName
from danlu.message import message
from danlu.refuse import Refusal
from danlu.task_spec import TaskName


def required() -> Any:
    """A field without a default."""
    return field(kw_only=True)


@dataclass(frozen=True)
class ResolvedData(DataConfig):
    """Data settings of a run, with those that danlu chooses filled in."""

    memory: bool = required()
    workers: int = required()


@dataclass(frozen=True)
class ResolvedModel(ModelConfig):
    """Network settings of a run, with its name."""

    name: str = required()


@dataclass(frozen=True)
class ResolvedOptim(OptimConfig):
    """Optimiser settings of a run, with its name, peak learning rate and weight decay."""

    name: OptimizerName | OwnName = required()
    lr: float = required()
    weight_decay: float = required()


@dataclass(frozen=True)
class ResolvedSchedule(ScheduleConfig):
    """Settings of the learning rate schedule of a run, with its name."""

    name: ScheduleName | OwnName = required()


@dataclass(frozen=True)
class ResolvedAugment(AugmentConfig):
    """Augmentation settings of a run; what is still None comes from the preset."""

    preset: AugmentPreset = required()


@dataclass(frozen=True)
class ResolvedConfig(Config):
    """Settings of one training run, none of them open. A setting that is None is switched off or does not apply."""

    data: ResolvedData = required()
    task: TaskName = required()
    model: ResolvedModel = required()
    epochs: int = required()
    batch_size: int = required()
    optim: ResolvedOptim = required()
    schedule: ResolvedSchedule = required()
    augment: ResolvedAugment = required()
    precision: Precision = required()
    channels_last: bool = required()


SECTIONS = {
    "data": ResolvedData,
    "model": ResolvedModel,
    "optim": ResolvedOptim,
    "schedule": ResolvedSchedule,
    "augment": ResolvedAugment,
}
T = TypeVar("T", bound=Config)


def resolve(config: Config) -> ResolvedConfig:
    """The same settings as a `ResolvedConfig`. Raises Refusal naming the settings that are still open."""
    if isinstance(config, ResolvedConfig):
        return config
    still_open = [key for key in required_keys() if _value(config, key) is None]
    if still_open:
        verb = "is" if len(still_open) == 1 else "are"
        raise Refusal(
            message(
                "config.refuse.settings_complete_open",
                "settings must be complete, but {still_open} {verb} open",
                still_open=", ".join(still_open),
                verb=verb,
            )
        )
    sections = {name: kind(**vars(getattr(config, name))) for name, kind in SECTIONS.items()}
    return ResolvedConfig(**{**vars(config), **sections})


def unresolved(config: Config) -> Config:
    """The same settings as a `Config`, in which settings may be opened again."""
    sections = {name: kind.__base__(**vars(getattr(config, name))) for name, kind in SECTIONS.items()}
    return Config(**{**vars(config), **sections})


def is_open(config: Config) -> bool:
    """Return whether a config has settings that danlu still has to choose."""
    return any(_value(config, key) is None for key in required_keys())


def required_keys() -> list[str]:
    """Dotted keys of the settings that a resolved config always has."""
    own = [key for key in ResolvedConfig.__annotations__ if key not in SECTIONS]
    return own + [f"{name}.{key}" for name, kind in SECTIONS.items() for key in kind.__annotations__]


def _value(config: Config, key: str) -> Any:
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value

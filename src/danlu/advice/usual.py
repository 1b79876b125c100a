"""What danlu would choose for a run's data: the settings that remedies go back to."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from danlu.advice.remedies import Case, Change
from danlu.config import AugmentConfig, Config, get, with_values
from danlu.data.presets import resolve, resolve_objects
from danlu.preparation.defaults import choose_training
from danlu.preparation.prepared import Prepared


def case_of(prepared: Prepared, config: Config, evidence: Mapping[str, Any]) -> Case:
    """What a remedy may look at, in a training by `config` on the data of `prepared`."""
    preset = partial(_preset, prepared, config) if prepared.images is not None else None
    return Case(config, evidence, partial(_usual, prepared, config), preset)


def _usual(prepared: Prepared, config: Config, key: str, given: Change | None = None) -> Any:
    """What danlu chooses for a setting that is left open, the others being as they are or `given`."""
    return get(_chosen(prepared, with_values(config, (given or {}) | {key: None})), key)


def _preset(prepared: Prepared, config: Config, name: str) -> AugmentConfig:
    """An augmentation in full; where danlu would choose it for this data, with what it adds to it."""
    chosen = _chosen(prepared, with_values(config, {f"augment.{key}": None for key in vars(config.augment)}))
    wanted = chosen.augment if chosen.augment.preset == name else AugmentConfig(preset=name)  # type: ignore[arg-type]
    shape = {"size": prepared.signature.size, "channels": prepared.signature.channels}
    if prepared.objects is not None:
        return resolve_objects(wanted, **shape)
    return resolve(wanted, classes=len(prepared.signature.classes), **shape)


def _chosen(prepared: Prepared, opened: Config) -> Config:
    """With what danlu chooses for the settings that are left open."""
    start = prepared.transfer.source.signature if prepared.transfer else None
    return choose_training(opened, prepared.dataset, len(prepared.split.train), prepared.device, start)[0]

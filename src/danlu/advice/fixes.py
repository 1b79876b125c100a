"""The cures of findings at danlu's own runs: the flags to add to the command, by the table that `--heal` tries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from danlu.advice.remedies import Case, Change, as_flags, changes, untried
from danlu.config import SHORT_FLAGS, AugmentConfig, Config, get, with_values
from danlu.data.presets import resolve, resolve_objects
from danlu.doctor.finding import Finding
from danlu.doctor.terms import term
from danlu.engine.device import pick_device
from danlu.message import speaking
from danlu.preparation.defaults import choose_training
from danlu.task_spec import TASKS, TaskName

PROPOSED = 2  # changes that are named for a finding
NAMES = {key: short for short, key in SHORT_FLAGS.items()}


@dataclass(frozen=True)
class Outline:
    """What the usual settings depend on of the data, as far as a run's own settings tell it."""

    kind: str
    task: TaskName
    classes: tuple[str, ...]


def cures(config: Config, samples: int, language: str = "en") -> Callable[[Finding], Finding]:
    """finding -> the finding with flags of `danlu train` for its remedy, where a setting may cure it; else as it is.

    config: every setting of the run. samples: of training.
    """
    images = config.data.size is not None
    classes = ("",) * (TASKS[config.task or "classify"].has_classes)
    outline = Outline("images" if images else "table", config.task or "classify", classes)
    usual = partial(_usual, config, outline, samples)
    preset = partial(_preset, config) if images else None

    def cured(finding: Finding) -> Finding:
        case = Case(config, finding.evidence, usual, preset)
        found = changes(finding.code, case) or untried(finding.code, case)
        flags = list(dict.fromkeys(flags_of(change) for change in found))[:PROPOSED]
        if not flags:
            return finding
        with speaking(language):
            proposed: object = flags[0]
            for other in flags[1:]:
                proposed = term("or", "{first}, or {second}", first=proposed, second=other)
            return replace(finding, remedy=str(term("try", "Try {flags}.", flags=proposed)))

    return cured


def flags_of(change: Mapping[str, Any]) -> str:
    """As a person types it: short names, dashes, and an augmentation by its preset's name."""
    whole = "augment.preset" in change
    kept = {key: value for key, value in change.items() if not whole or key in NAMES or not key.startswith("augment.")}
    return as_flags({NAMES.get(key, key).replace("_", "-"): value for key, value in kept.items()})


def _usual(config: Config, outline: Outline, samples: int, key: str, given: Change | None = None) -> Any:
    """What danlu chooses for a setting that is left open, the others being as they are or `given`."""
    opened = with_values(config, (given or {}) | {key: None})
    device = pick_device("auto") if config.device == "auto" else torch.device(config.device)
    return get(choose_training(opened, outline, samples, device)[0], key)


def _preset(config: Config, name: str) -> AugmentConfig:
    """An augmentation in full."""
    wanted = AugmentConfig(preset=name)  # type: ignore[arg-type]
    shape = {"size": config.data.size or 0, "channels": 1 if config.data.colour == "grey" else 3}
    if TASKS[config.task or "classify"].finds_objects:
        return resolve_objects(wanted, **shape)
    return resolve(wanted, classes=2 * (TASKS[config.task or "classify"].targets == "class"), **shape)

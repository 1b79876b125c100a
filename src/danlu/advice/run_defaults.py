"""Default values of the settings of a run, which remedies return to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from danlu.advice.case import Case, Change
from danlu.config import AugmentConfig, Config, get, with_values
from danlu.data.augmentation.presets import resolve, resolve_grids, resolve_objects
from danlu.engine.device import pick_device
from danlu.preparation.defaults import DataOutline, choose_training
from danlu.preparation.prepared import Prepared
from danlu.run.signature import Signature
from danlu.task_spec import TASKS, TaskName

IMAGE_KINDS = ("images", "files")  # values of `Dataset.kind`


@dataclass(frozen=True)
class Outline:
    """The properties of a run's data that its config contains, for runs whose data are not read again."""

    kind: str
    task: TaskName
    classes: tuple[str, ...]
    frames: int | None = None


@dataclass(frozen=True)
class RunDefaults:
    """Default values of a run's settings.

    config: every setting of the run. outline: of its data. samples: number of training samples. start: signature of
    the weights that the training starts from.
    """

    config: Config
    outline: DataOutline
    samples: int
    device: torch.device
    start: Signature | None = None

    @classmethod
    def of_prepared(cls, prepared: Prepared, config: Config) -> RunDefaults:
        """Defaults for a training with `config` on the data of `prepared`."""
        start = prepared.transfer.source.signature if prepared.transfer else None
        return cls(config, prepared.dataset, len(prepared.split.train), prepared.device, start)

    @classmethod
    def of_config(cls, config: Config, samples: int) -> RunDefaults:
        """Defaults for a finished run, as far as its config determines them; the data are not read."""
        kind = "table" if config.data.size is None else "images"
        task = config.task or "classify"
        classes = ("",) if TASKS[task].has_classes else ()  # the defaults depend on whether there are any
        device = pick_device("auto") if config.device == "auto" else torch.device(config.device)
        return cls(config, Outline(kind, task, classes, config.data.frames), samples, device)

    def setting(self, key: str, changed: Change | None = None) -> Any:
        """Default of one setting, given the run's other settings and those in `changed`."""
        return get(self._chosen((changed or {}) | {key: None}), key)

    def preset(self, name: str) -> AugmentConfig:
        """Every setting of an augmentation preset, with danlu's additions where it is the default for this data."""
        chosen = self._chosen({f"augment.{key}": None for key in vars(self.config.augment)}).augment
        wanted = chosen if chosen.preset == name else AugmentConfig(preset=name)  # type: ignore[arg-type]
        # The presets depend on whether there are three channels; images of "all" channels have another number.
        channels = 3 if self.config.data.colour in ("rgb", None) else 1
        shape: dict[str, Any] = {"size": self.config.data.side or 0, "channels": channels}
        if TASKS[self.outline.task].finds_objects:
            return resolve_objects(wanted, **shape)
        fill = resolve if self.config.data.tokens is None else resolve_grids
        return fill(wanted, classes=len(self.outline.classes), **shape)

    def case(self, evidence: Mapping[str, Any]) -> Case:
        """The input of a remedy, for a finding with this evidence."""
        preset = self.preset if self.outline.kind in IMAGE_KINDS else None
        return Case(self.config, evidence, self.setting, preset)

    def _chosen(self, changes: Change) -> Config:
        """The run's config with `changes`, and with defaults where these open a setting."""
        opened = with_values(self.config, changes)
        return choose_training(opened, self.outline, self.samples, self.device, self.start)[0]

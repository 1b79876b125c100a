"""Settings and software that a checkpoint was made with, compared when a run is resumed.

Settings that would change the training are refused, because the optimiser's state and the rows recorded so far belong
to the old ones. Another PyTorch or number of threads only changes the last bits, which is printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from danlu.config import Config, get, keys
from danlu.message import Message, message
from danlu.refuse import Refusal

# Settings that --resume may change.
RESUMABLE = (
    "epochs",
    "device",
    "data.workers",
    "log_every",
    "save_every",
    "save_path",
    "keep_state",
    "callbacks",
    "log",
    "tags",
    "live",
    "doctor.language",
)
# Settings without influence on the weights.
HARMLESS = ("out", "data.path", "data.cache", "data.memory", "data.on_bad", "data.follow_links", "doctor")


def conditions(config: Config) -> dict[str, Any]:
    """Settings, number of threads and version of PyTorch, to be kept in a checkpoint."""
    settings = {key: get(config, key) for key in keys()}
    return {"settings": settings, "threads": torch.get_num_threads(), "torch": str(torch.__version__)}


def check_conditions(kept: Mapping[str, Any], config: Config, run: str) -> list[Message]:
    """Compare the conditions of a checkpoint with those now.

    Returns:
        Differences that change no more than the last bits of the results.

    Raises:
        Refusal: config.yaml was edited.
    """
    for key, (before, value) in _changed(kept, config).items():
        if not _may_change(key):
            raise Refusal(
                message(
                    "training.refuse.resume_config_yaml_says",
                    "--resume {run}: config.yaml says {key} {value}, but the run was trained with {before}; "
                    "set it back, or train again with `danlu train --config {run}/config.yaml`",
                    run=run,
                    key=key,
                    value=value,
                    before=before,
                )
            )
    now = conditions(config)
    notes = []
    for name, label in (("threads", "threads"), ("torch", "PyTorch")):
        if name in kept and kept[name] != now[name]:
            text = "resumed with {name} {now} instead of {before}: results may differ in their last bits"
            notes.append(message("resume.conditions", text, name=label, now=now[name], before=kept[name]))
    return notes


def edits(kept: Mapping[str, Any], config: Config) -> list[Message]:
    """The settings of an edited config.yaml that differ from those of a checkpoint, each with both values."""
    text = "config.yaml was edited: {key} is {value}, and was {before}"
    return [
        message("resume.edited", text, key=key, value=value, before=before)
        for key, (before, value) in _changed(kept, config).items()
    ]


def _changed(kept: Mapping[str, Any], config: Config) -> dict[str, tuple[Any, Any]]:
    """Setting -> its value in a checkpoint, and its value now, where they differ."""
    before = kept.get("settings", {})
    now = {key: get(config, key) for key in keys() if key in before}
    return {key: (before[key], value) for key, value in now.items() if value != before[key]}


def _may_change(key: str) -> bool:
    return key in RESUMABLE or key in HARMLESS or key.partition(".")[0] in HARMLESS

"""Stage of a run, read from the files of its folder; it decides where `--resume` continues.

A run writes, each file atomically: config.yaml as it was asked for (ASKED); weights/start, environment.json,
choices.json, earlier.json and config.yaml with every setting decided (PREPARED); state.pt after the first epoch or some
minutes (TRAINING); summary.json (MEASURED); report.html (FINISHED). A kill leaves one of these stages, and what is
missing is done again from there. A run that is resumed for more epochs removes its report first.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

from danlu.config import is_open, load_yaml


class RunStage(IntEnum):
    """Stage of a run, in order."""

    ASKED = 0
    PREPARED = 1
    TRAINING = 2
    MEASURED = 3
    FINISHED = 4


FIRST_FILES = frozenset((".lock", "checksums.txt", "earlier.json"))  # before config.yaml
EARLY_FILES = FIRST_FILES | {"config.yaml", "choices.json", "environment.json", "log.txt", "start.safetensors"}


def stage_of(folder: Path) -> RunStage:
    """Stage of the run in `folder`, which holds config.yaml."""
    if (folder / "summary.json").exists():
        return RunStage.FINISHED if (folder / "report.html").exists() else RunStage.MEASURED
    if (folder / "state.pt").exists():
        return RunStage.TRAINING
    return RunStage.ASKED if is_open(load_yaml(folder / "config.yaml")) else RunStage.PREPARED


def can_be_taken(folder: Path) -> bool:
    """Return whether a folder holds nothing but the first files of a run that was killed while it read its data."""
    names = set()
    for path in folder.rglob("*"):
        if path.is_dir() or (path.name.startswith(".") and path.name.endswith(".part")):  # of `write_atomically`
            continue
        if path.name not in EARLY_FILES:
            return False  # at the first one: the folder may be large
        names.add(path.name)
    return stage_of(folder) is RunStage.ASKED if "config.yaml" in names else names <= FIRST_FILES

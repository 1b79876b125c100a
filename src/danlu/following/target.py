"""Find the run or folder of runs that `danlu live` follows, without torch: a misspelt folder is refused at once."""

from __future__ import annotations

import os
from pathlib import Path

from danlu.message import message
from danlu.refuse import refusal
from danlu.run.folder import runs_beside


def checked_target(run: str | os.PathLike[str]) -> Path:
    """The folder of a run, of runs, or an empty one. Raises Refusal, with the nearest runs, for anything else."""
    name = os.fspath(run)
    target = Path(name)
    if not name or not ((target / "config.yaml").is_file() or _can_hold_runs(target)):
        wanted = message("following.wanted.run_folder_folder_runs", "a run folder, or a folder of runs")
        raise refusal("RUN", wanted, name, near=runs_beside(target))
    return target


def _can_hold_runs(folder: Path) -> bool:
    """Return whether a folder holds runs, or nothing at all yet."""
    if not folder.is_dir():
        return False
    return any(folder.glob("*/config.yaml")) or not any(folder.iterdir())

"""Measurements of the doctor while a run trains: from its last checkpoint, which costs the training nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from danlu.doctor.ledger import Ledger
from danlu.run.folder import Run


@dataclass(frozen=True)
class Measurements:
    """The doctor's ledger, and the number of epochs after which the weights of the last epoch were saved.

    epoch: None inside an epoch, and where no checkpoint is left.
    """

    ledger: Ledger
    epoch: int | None


def stamp(path: Path) -> tuple[int, int] | None:
    """Number and time of a file, which change when it is replaced; None if it is missing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def measurements_of(run: Run) -> Measurements:
    """Read state.pt while there is one, else doctor.jsonl."""
    state = _state(run.state)
    if state is None:
        return Measurements(Ledger.read(run.checked(run.ledger)) if run.ledger.exists() else Ledger(), None)
    ledger, doctor, progress = Ledger(), state.get("doctor"), state.get("progress") or {}
    if doctor:
        ledger.restore(doctor["ledger"])
    return Measurements(ledger, progress.get("epoch") if not progress.get("batch") else None)


def _state(path: Path) -> dict[str, Any] | None:
    """The checkpoint with its tensors left on the disk; None if it is missing or just being removed."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError):
        return None

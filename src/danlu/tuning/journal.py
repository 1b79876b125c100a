"""Optuna's journal of a study: one file, appended by several processes, whole after a kill at any moment."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from danlu.message import message
from danlu.refuse import Refusal
from danlu.tuning.methods import pruner

if TYPE_CHECKING:
    import optuna

NAME = "danlu"


class KernelLock:
    """Lock of the journal that the kernel releases when its process dies; Optuna's own waits for a grace period."""

    def __init__(self, path: Path) -> None:
        self.lock = FileLock(path)

    def acquire(self) -> bool:
        """Wait for the lock."""
        self.lock.acquire()
        return True

    def release(self) -> None:
        """Release the lock."""
        self.lock.release()


def check_installed() -> None:
    """Raise Refusal where Optuna is missing."""
    if find_spec("optuna") is None:
        raise Refusal(
            message(
                "tuning.refuse.danlu_tune_needs_optuna",
                "danlu tune needs Optuna; install it with `pip install danlu[tune]`",
            )
        )


def open_journal(folder: Path, better: str, pruning: str, epochs: int) -> optuna.Study:
    """Open the study of a folder, or make it. better: "high" or "low". pruning, epochs: see `methods.pruner`."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("optuna").propagate = False
    path, lock = folder / "journal.log", KernelLock(folder / ".journal.lock")
    with lock.lock:
        _cut_last_line(path)
    storage = JournalStorage(JournalFileBackend(str(path), lock_obj=lock))  # type: ignore[arg-type]
    return optuna.create_study(
        storage=storage,
        study_name=NAME,
        load_if_exists=True,
        direction="maximize" if better == "high" else "minimize",
        pruner=pruner(pruning, epochs),
    )


def _cut_last_line(path: Path) -> None:
    """Remove a last line that a power cut left incomplete, as the next one would be appended to it."""
    if not path.exists():
        return
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)

"""A file that is written beside its place and then renamed to it; those of processes that have died are removed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

ENDING = ".tmp"


@contextmanager
def partial_file(place: Path) -> Iterator[BinaryIO]:
    """Give a file to write, which is renamed to `place` at the end, and removed if that is not reached.

    It is locked while it is written, so that other processes know that its owner lives.
    """
    for left in place.parent.glob(f"*{ENDING}"):
        if not left.name.endswith(f".{os.getpid()}{ENDING}"):  # of another thread
            _remove_if_abandoned(left)
    path = place.with_name(f"{place.name}.{os.getpid()}{ENDING}")
    file = path.open("wb")
    try:
        with file:
            with suppress(OSError):  # a file system without locks: nothing is removed there
                _lock(file)
            yield file
            file.flush()
            if os.name != "nt":  # while it is locked; Windows renames closed files only
                path.replace(place)
        if os.name == "nt":
            path.replace(place)
    finally:
        path.unlink(missing_ok=True)


def _remove_if_abandoned(path: Path) -> None:
    with suppress(OSError):  # locked by its owner, or removed by another process; on Windows it is open
        with path.open("r+b") as file:
            _lock(file)
        path.unlink()


def _lock(file: BinaryIO) -> None:
    """Lock a file until it is closed or the process dies. Raises OSError if another process has locked it."""
    try:
        import fcntl
    except ImportError:  # Windows does not remove files that are open
        return
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # forked processes do not inherit it

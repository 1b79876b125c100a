"""Files that survive kills and power cuts: written beside their place, forced to the disk, then renamed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from danlu.message import message
from danlu.refuse import Failure, system_reason


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write(temporary)` and rename the temporary file to `path`.

    The content is forced to the disk before the rename and the folder after it, so that `path` holds the old or the
    new content after a power cut, never half of it.

    Raises:
        Failure: The file could not be written; the old file is intact.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        write(temporary)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except (OSError, RuntimeError) as error:  # torch.save and safetensors wrap a full disk in RuntimeError
        temporary.unlink(missing_ok=True)
        raise Failure(
            message(
                "run.refuse.could_written_what_saved",
                "{path} could not be written: {why}; what was saved before is intact",
                path=path,
                why=system_reason(error),
            )
        ) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Force a file or a folder to the disk. Folders are skipped where the system cannot open them (Windows)."""
    if path.is_dir() and os.name == "nt":
        return
    # Windows flushes only files that are open for writing.
    number = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files that a killed process left in a folder."""
    for pattern in (".*.part", "*.tmp", "weights/.*.part"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)

"""A new folder that has all of its content or does not exist: filled beside its place, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from danlu.message import message
from danlu.refuse import blame, refusal


def new_folder(out: str | os.PathLike[str] | None, otherwise: Path) -> Path:
    """Return the place of a new folder: `otherwise` where `out` is None.

    Raises:
        Refusal: `out` is empty, a file, or a folder with content.
    """
    wanted = message("run.wanted.new_empty_folder", "a new or empty folder")
    if out is not None and not os.fspath(out):
        raise refusal("--out", wanted, "")
    folder = otherwise if out is None else Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise refusal("--out", wanted, str(folder))
    return folder


@contextmanager
def filled(folder: Path, hint: str = "") -> Iterator[Path]:
    """Give a folder to fill, which is renamed to `folder` at the end, and removed if that is not reached.

    folder: as `new_folder` returns it. hint: end of the sentence about a file that cannot be written.

    Raises:
        Refusal, Failure: A file or folder cannot be written.
    """
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        yield part
        with suppress(FileNotFoundError):
            folder.rmdir()  # it is empty
        part.rename(folder)
    except OSError as error:
        raise blame(error, f"--out {folder}{hint}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)

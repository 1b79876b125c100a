"""Links out of the data folder: a name in the data must not make danlu read and show files elsewhere on the machine.

Links that stay inside are fine, and so is a data folder that is itself a link. `--follow-links` reads the others.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from danlu.message import message
from danlu.refuse import refusal

FOLLOW = message("data.wanted.follow_links_reads", "--follow-links reads it")
Kind = Literal["folder", "file", "other"]


@dataclass(frozen=True)
class Unread:
    """An entry of the data folder that is not read. where: its path below the folder. outside: it is a link out."""

    where: str
    reason: str
    outside: bool = False


@dataclass(frozen=True)
class Fence:
    """The boundary of a data folder. home: its real path, with a separator at the end. open: links out are followed."""

    home: str
    open: bool = False

    @classmethod
    def around(cls, folder: Path, follow_links: bool = False) -> Fence:
        """Return the boundary of `folder`."""
        return cls(os.path.join(os.path.realpath(folder), ""), follow_links)

    def holds(self, path: str | Path) -> bool:
        """Return whether the real path of a file or folder, with links resolved, is inside."""
        return os.path.join(os.path.realpath(path), "").startswith(self.home)

    def allows(self, path: Path) -> bool:
        """Return whether a file found below the folder may be read."""
        return self.open or not path.is_symlink() or self.holds(path)

    def reason(self, entry: os.DirEntry[str]) -> str | None:
        """Why an entry is a link that must not be followed; None for any other entry."""
        if self.open or not entry.is_symlink() or self.holds(entry.path):
            return None
        return f"a link to {os.path.realpath(entry.path)}, outside the data folder; {FOLLOW}"


def check_ordinary(path: Path, thing: str) -> None:
    """Raise Refusal for a pipe, socket or device, whose content may never come or never end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise refusal(thing, message("data.wanted.ordinary", "an ordinary file or a folder"), str(path))


def kind_of(entry: os.DirEntry[str]) -> tuple[Kind, str]:
    """Kind of an entry, and why one of kind "other" cannot be read. A broken link counts as a file."""
    try:
        if entry.is_dir():
            return "folder", ""
        if entry.is_file() or entry.is_symlink():
            return "file", ""
    except OSError as error:
        loop = error.errno == errno.ELOOP
        return "other", "a link that leads back to itself" if loop else str(error.strerror).lower()
    return "other", "neither a file nor a folder"  # a pipe or a device, which may block forever

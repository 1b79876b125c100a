"""Remains of a folder after a power cut: the writes of a process are recorded, and replayed in part and reordered.

A file system may hold back all that was not forced to the disk: the bytes of a file since its last fsync, and the
changes of names in a folder since the folder's last fsync, in any order. Folders themselves are taken to be there.
"""

from __future__ import annotations

import os
import pickle
import random
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

Files = dict[str, tuple[int, bytes]]  # path -> number of the file, bytes
BLOCK = 512  # bytes that a disk writes at once


@dataclass
class Moment:
    """One recorded call. files, folders: all of the folder before it. change: (kind, path, new path or "") of names.

    forced: path of a file or folder that fsync has forced to the disk.
    """

    files: Files
    folders: list[str]
    change: tuple[str, str, str] | None = None
    forced: str | None = None


class Recorder:
    """Records, in its own process, what changes names below a folder, and each fsync."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.moments: list[Moment] = []
        self._held: dict[int, int] = {}  # open files: their numbers are not given to others
        self._busy = False

    def install(self) -> None:
        sys.addaudithook(self._observe)
        force = os.fsync

        def fsync(number: int) -> None:
            force(number)
            self._add(forced=os.readlink(f"/proc/self/fd/{number}"))

        os.fsync = fsync

    def keep(self, file: str) -> None:
        """Write the moments to a file, and a last one."""
        self._add(forced=self.folder)
        self._busy = True
        Path(file).write_bytes(pickle.dumps(self.moments))

    def _observe(self, event: str, args: tuple[Any, ...]) -> None:
        """Audit hook, called before the operation."""
        if self._busy or not args or not isinstance(args[0], str | os.PathLike):
            return
        path = os.path.abspath(args[0])
        if event == "open" and args[2] & os.O_CREAT and not os.path.exists(path):
            self._add((event, path, ""))
        elif event in ("os.rename", "os.link"):
            self._add((event, path, os.path.abspath(args[1])))
        elif event == "os.remove" and os.path.exists(path):
            self._add((event, path, ""))

    def _add(self, change: tuple[str, str, str] | None = None, forced: str | None = None) -> None:
        path = change[1] if change else forced or ""
        if self._busy or not (path + os.sep).startswith(self.folder + os.sep):
            return
        self._busy = True
        files: Files = {}
        folders: list[str] = []
        for root, _, names in os.walk(self.folder):
            folders.append(root)
            for one in (os.path.join(root, name) for name in names):
                inode = os.stat(one).st_ino
                if inode not in self._held:
                    self._held[inode] = os.open(one, os.O_RDONLY)
                files[one] = inode, Path(one).read_bytes()
        self.moments.append(Moment(files, folders, change, forced))
        self._busy = False


def recorded(file: Path) -> list[Moment]:
    """The moments that `Recorder.keep` wrote."""
    return pickle.loads(file.read_bytes())


def after_power_cut(moments: list[Moment], count: int, seed: int, old: Path, new: Path) -> None:
    """Write to `new` what a disk may hold of `old` if the power is cut before moment `count`; the seed chooses."""
    chance = random.Random(seed)
    forced: dict[int, bytes] = {}
    names: dict[str, int] = {}
    waiting: list[tuple[str, str, str, int]] = []  # changes of names that the disk may lack
    latest = dict(moments[0].files.values())
    for moment, later in pairwise(moments[: count + 1]):
        latest |= dict(later.files.values())
        if moment.change:
            kind, first, second = moment.change
            files = later.files if kind == "open" else moment.files
            waiting.append((kind, first, second, files[first][0] if first in files else 0))
        elif moment.forced in later.files:
            inode, content = later.files[moment.forced]
            forced[inode] = content
        else:
            mine = [one for one in waiting if os.path.dirname(one[2] or one[1]) == moment.forced]
            waiting = [one for one in waiting if one not in mine]
            for one in mine:
                _carry_out(one, names)
    for one in waiting:
        if chance.random() < 0.5:
            _carry_out(one, names)
    for folder in moments[count].folders:
        (new / os.path.relpath(folder, old)).mkdir(parents=True, exist_ok=True)
    for path, inode in names.items():
        content = _partly(forced.get(inode, b""), latest[inode], chance)
        (new / os.path.relpath(path, old)).write_bytes(content)


def _carry_out(change: tuple[str, str, str, int], names: dict[str, int]) -> None:
    kind, first, second, inode = change
    if kind in ("os.remove", "os.rename"):
        names.pop(first, None)
    if inode and kind != "os.remove":
        names[second or first] = inode


def _partly(forced: bytes, latest: bytes, chance: random.Random) -> bytes:
    """Bytes of a file after a power cut: those that were forced, and of the later ones all, some, or zeros."""
    if forced == latest:
        return latest
    common = len(forced) if latest.startswith(forced) else 0
    end = chance.randint(common, len(latest))
    blocks = min(len(latest), max(common, end // BLOCK * BLOCK))
    return chance.choice([forced, latest, latest[:end], latest[:blocks] + bytes(len(latest) - blocks)])

"""checksums.txt: the checksums of the texts that danlu reads back from a run, so that no flipped byte goes unnoticed.

A line "CRC-32 BYTES NAME" is appended before a file gets this content. Whenever a process is killed, the content on
the disk, old or new, has its line; and because lines are only appended, processes need no lock. metrics.jsonl, which
grows, is listed up to its last checkpoint. Weights and state.pt contain their own checksums. A file without a line, of
a run of an earlier version, is not checked.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from danlu.message import message
from danlu.refuse import Failure, Refusal, system_reason

FILE = "checksums.txt"
GROWING = ("metrics.jsonl",)  # listed by their beginning


def expect(path: Path, content: bytes) -> None:
    """List the content that `path` is about to get. Raises Failure if the disk does not take it."""
    expect_beginning(path, zlib.crc32(content), len(content))


def expect_beginning(path: Path, checksum: int, size: int) -> None:
    """List the CRC-32 of the first `size` bytes of a file. Raises Failure if the disk does not take it."""
    listed = path.with_name(FILE)
    try:
        with listed.open("a+b") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
            broken = file.read(1) not in (b"", b"\n")  # a line that a full disk or a power cut has cut
            file.write(b"\n" * broken + f"{checksum:08x} {size} {path.name}\n".encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Failure(
            message(
                "run.refuse.could_written_what_saved",
                "{path} could not be written: {why}; what was saved before is intact",
                path=listed,
                why=system_reason(error),
            )
        ) from None


def is_intact(path: Path, content: bytes) -> bool:
    """Return whether the content of a file is one that danlu has listed, or none is listed for it."""
    found = _listed(path)
    if path.name in GROWING:
        return not found or (zlib.crc32(content[: found[-1][1]]), min(len(content), found[-1][1])) == found[-1]
    return not found or (zlib.crc32(content), len(content)) in found


def check(path: Path, content: bytes) -> None:
    """Raise Refusal if the content of a file is none that danlu has listed for it."""
    if not is_intact(path, content):
        raise Refusal(
            message(
                "run.refuse.checksum_differs",
                "{path} is damaged: its checksum differs from that in {listed}; put the file back as it was, or delete "
                "{listed} to read it as it is",
                path=path,
                listed=path.with_name(FILE),
            )
        )


def listed_size(path: Path) -> int | None:
    """Bytes of a growing file that are listed; None if it has no line. A power cut may damage those after them."""
    found = _listed(path)
    return found[-1][1] if found else None


def _listed(path: Path) -> list[tuple[int, int]]:
    """Pairs of checksum and size that are listed for a file, oldest first. Damaged lines list nothing."""
    try:
        lines = path.with_name(FILE).read_bytes().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        checksum, _, rest = line.partition(b" ")
        size, _, name = rest.partition(b" ")
        if name == os.fsencode(path.name):
            try:
                found.append((int(checksum, 16), int(size)))
            except ValueError:
                continue
    return found

"""Free memory of the machine, and the refusal of sizes that do not fit in it, before anything is allocated.

Linux grants more memory than there is and kills the process that uses it, so that the failure of an allocation comes
too late or never.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from danlu.message import message
from danlu.refuse import Refusal

CHECKED_FROM = 1 << 28  # bytes; smaller requests are granted without a look at the machine
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of containers, v2 and v1


def free_memory() -> int | None:
    """Bytes of main memory and swap that this process can still get; None if the system does not tell."""
    try:
        fields = dict(
            line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines() if ":" in line
        )
        free = sum(int(fields[name].split()[0]) for name in ("MemAvailable", "SwapFree")) * 1024
    except (OSError, KeyError, ValueError):
        try:
            free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, OSError, ValueError):
            return None
    for path in CGROUP_LIMITS:
        try:
            free = min(free, int(Path(path).read_text(encoding="ascii")))
        except (OSError, ValueError):  # no container, or "max"
            continue
    return free


def check_memory(wanted: int, thing: str, value: object, what: str, free: int | None = None) -> None:
    """Raise Refusal if `wanted` bytes do not fit in memory.

    Args:
        thing: The setting that is too large, and `value` what it is.
        what: What needs the memory, for the sentence: "1,797 images".
        free: Bytes that are free; those of main memory by default.
    """
    if wanted < CHECKED_FROM:
        return
    free = free_memory() if free is None else free
    if free is not None and wanted > free:
        raise Refusal(
            message(
                "data.refuse.fit_free_memory_got",
                "{thing} must fit in {size} of free memory, got {value}: {what} take {count}",
                thing=thing,
                size=_size(free),
                value=value,
                what=what,
                count=_size(wanted),
            ),
            thing,
        )


def check_disk(wanted: int, folder: Path, thing: str, value: object, what: str) -> None:
    """Raise Refusal if `wanted` bytes do not fit on the disk of `folder`, which need not exist yet."""
    there = next((one for one in (folder, *folder.absolute().parents) if one.exists()), None)
    if wanted < CHECKED_FROM or there is None:
        return
    free = shutil.disk_usage(there).free
    if wanted > free:
        raise Refusal(
            message(
                "data.refuse.fit_free_disk_got",
                "{thing} must fit in {size} of free disk, got {value}: {what} take {count}",
                thing=thing,
                size=_size(free),
                value=value,
                what=what,
                count=_size(wanted),
            ),
            thing,
        )


def _size(count: int) -> str:
    """Bytes as text: 512 MiB, 1,024 GiB."""
    return f"{count / 2**30:,.0f} GiB" if count >= 10 * 2**30 else f"{count / 2**20:,.0f} MiB"

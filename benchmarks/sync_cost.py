"""Time that a training spends in fsync, which forces its files to the disk.

python benchmarks/sync_cost.py [WORDS of danlu ...], by default a training of small-cnn on digits with 20 checkpoints
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
import time

DEFAULT = "train digits --model small-cnn --epochs 20"


def main() -> None:
    force, calls, spent = os.fsync, 0, 0.0

    def fsync(number: int) -> None:
        nonlocal calls, spent
        began = time.perf_counter()
        force(number)
        calls, spent = calls + 1, spent + time.perf_counter() - began

    os.fsync = fsync
    from danlu.cli import main as danlu

    words = sys.argv[1:] or [*shlex.split(DEFAULT), "--out", tempfile.mkdtemp(prefix="danlu-sync-")]
    began = time.perf_counter()
    code = danlu(words)
    whole = time.perf_counter() - began
    print(f"{calls} calls of fsync took {spent:.2f} of {whole:.1f} s ({spent / whole:.1%})")
    raise SystemExit(code)


if __name__ == "__main__":
    main()

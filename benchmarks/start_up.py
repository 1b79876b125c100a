"""Measure the time of `danlu --help` and its slowest imports.

python benchmarks/start_up.py [--runs 10]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median

GOAL = 0.5  # seconds
SHOWN = 5


def help_seconds(runs: int = 10) -> list[float]:
    """Wall time of `danlu --help` in fresh processes, after one warm-up for the disk cache."""
    command = [str(Path(sys.executable).with_name("danlu")), "--help"]
    times = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return times[1:]


def slowest_imports() -> list[tuple[str, float]]:
    """Slowest packages to import, in seconds, excluding their own imports of other packages."""
    command = [sys.executable, "-X", "importtime", "-m", "danlu.cli", "--help"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stderr.splitlines()
    seconds: Counter[str] = Counter()
    for line in lines:
        fields = line.removeprefix("import time:").split("|")
        if len(fields) == 3 and fields[0].strip().isdigit():  # self [us] | cumulative | name
            seconds[fields[2].strip().partition(".")[0]] += int(fields[0]) / 1e6  # type: ignore[assignment]
    return seconds.most_common(SHOWN)


def table(runs: int = 10) -> str:
    """Format both as Markdown."""
    times = help_seconds(runs)
    reached = "reached" if median(times) < GOAL else "missed"
    lines = [
        "## Start-up",
        "",
        "| `danlu --help` | median | min - max | goal |",
        "|---|---|---|---|",
        f"| {len(times)} fresh processes | {median(times):.3f} s | {min(times):.3f} - {max(times):.3f} s "
        f"| < {GOAL} s, {reached} |",
        "",
        "Longest imports: " + ", ".join(f"{name} {seconds:.3f} s" for name, seconds in slowest_imports()) + ".",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    print(table(parser.parse_args().runs))

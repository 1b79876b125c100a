"""Compare detectors with a pretrained and a random backbone after equal processor time.

`python benchmarks/detection_transfer.py [pennfudan ...] --minutes 5 --size 320`. Each set is trained twice by danlu's
defaults, with the packaged ImageNet backbone and with `--pretrained none`; a first epoch is timed, then each training
gets the number of epochs that fits the time. The figures are mAP and mAP50 of the last weights on the test set. Time is
processor time divided by the number of threads, so that other programs on the machine change it little.

Sets are read from $DANLU_DATA. Everything runs on the CPU.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import danlu

QUIET = Console(quiet=True)
# Name of a set -> its settings. Sets without a test set of their own are split by danlu.
SETS: dict[str, dict[str, Any]] = {
    "pennfudan": {"data.test": 0.3},
    "bccd": {},
    "nuclei": {"data.test": 0.3},
}
WAYS = {"pretrained": {}, "random": {"transfer.init": "none"}}
MAX_EPOCHS = 300


def trained(data: str, out: Path, epochs: int, settings: dict[str, Any]) -> tuple[dict[str, float], float]:
    """Train; return the metrics on the test set and the processor minutes per thread of the training."""
    start = time.process_time()
    run = danlu.train(data, out=str(out), task="detect", val=0, device="cpu", epochs=epochs, console=QUIET, **settings)
    return run.summary["metrics"]["test"], (time.process_time() - start) / 60 / torch.get_num_threads()


def compared(name: str, minutes: float, settings: dict[str, Any]) -> list[str]:
    """Train a set in both ways; return the rows of the table."""
    rows = []
    for way, changes in WAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            everything = SETS[name] | settings | changes
            one = trained(name, Path(folder) / "1", 1, everything)[1]
            three = trained(name, Path(folder) / "3", 3, everything)[1]
            epoch = max((three - one) / 2, 1e-3)
            epochs = max(1, min(MAX_EPOCHS, 1 + round((minutes - one) / epoch)))
            metrics, spent = trained(name, Path(folder) / "all", epochs, everything)
        rows.append(f"| {name} | {way} | {epochs} | {spent:.1f} | {metrics['mAP']:.3f} | {metrics['mAP50']:.3f} |")
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sets", nargs="*", metavar="|".join(SETS), help="sets; all by default")
    parser.add_argument("--minutes", type=float, default=5.0, help="processor minutes of each training, per thread")
    parser.add_argument("--size", type=int, help="side of the images in pixels; danlu's default without it")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if unknown := set(given.sets) - set(SETS):
        parser.error(f"unknown set {unknown.pop()!r}: choose from {', '.join(SETS)}")
    settings = {"seed": given.seed} | ({"data.size": given.size} if given.size else {})
    print("| data | backbone | epochs | minutes | mAP | mAP50 |\n|---|---|--:|--:|--:|--:|", flush=True)
    for name in given.sets or SETS:
        compared(name, given.minutes, settings)


if __name__ == "__main__":
    main()

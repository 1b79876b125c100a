"""Measure the overhead of the doctor and of Cockpit in one run: `python benchmarks/doctor_overhead.py --peers DIR`.

The same plain loop runs in separate processes: unwatched, under danlu's doctor, and under Cockpit where it is
installed. They take turns as in speed.py; a ratio is the median of the ratios within each round. Memory is the peak
resident size relative to the unwatched process; it varies by a few MiB between starts. "Own account" is the time the
doctor's budget recorded. The doctor may use a larger fraction of the first seconds, so each process first trains for
--warm seconds that are not counted.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from speed import HERE, PEERS, Contender, circumstances, compare, say

RESULTS = HERE / "results" / "doctor_overhead.md"
GOAL, MEMORY_GOAL = 0.03, 0.01  # fractions of the step time and of the training's memory
WORKS: dict[str, dict[str, Any]] = {
    "LeNet, batch 256": {"model": "lenet", "channels": 1, "size": 28, "batch": 256, "steps": 100},
    "MLP of 20 layers, batch 128": {
        "model": "mlp", "channels": 1, "size": 16, "batch": 128, "steps": 150, "options": {"width": (128,) * 19},
    },
    "ResNet-20, batch 128": {"model": "resnet20", "channels": 3, "size": 32, "batch": 128, "steps": 8},
    "ResNet-18, batch 8": {"model": "resnet18", "channels": 3, "size": 224, "batch": 8, "steps": 4},
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="measured rounds per contender [9]")
    parser.add_argument("--warm", type=float, default=10.0, help="seconds of training before the first round [10]")
    parser.add_argument("--only", action="append", choices=list(WORKS), help="this work only; may be repeated")
    parser.add_argument("--peers", type=Path, default=PEERS, help="environment with Cockpit [.venv-peers]")
    options = parser.parse_args()
    python = options.peers / "bin" / "python"
    lines = [circumstances(None, False), "", f"{options.rounds} rounds.", ""]
    lines += [
        "| work | step, ms | danlu | min - max | by its own account | memory | Cockpit | memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lost: list[str] = []
    with tempfile.TemporaryDirectory(prefix="danlu-bench-") as made:
        for title in options.only or WORKS:
            say(title)
            job = {"options": {}, "warm": options.warm} | WORKS[title]
            names = ["unwatched", "danlu", *(["Cockpit"] if python.exists() else [])]
            contenders = [
                Contender(n, "doctor_training.py", job | {"watcher": n}, *([str(python)] if n == "Cockpit" else []))
                for n in names
            ]
            lost += [f"{title}: {said}" for said in compare(contenders, options.rounds, Path(made))]
            lines.append(row(title, {c.name: c.rounds for c in contenders if c.rounds}))
            print(lines[-1], flush=True)
    page = "\n".join([*lines, "", f"Goal: at most {GOAL:.0%} of the step and {MEMORY_GOAL:.0%} of the memory.", *lost])
    print(page)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(page + "\n", encoding="utf-8")


def row(title: str, rounds: dict[str, dict[str, list[float]]]) -> str:
    alone = rounds["unwatched"]["seconds"]

    def cost(name: str) -> list[float]:
        return [watched / bare - 1 for watched, bare in zip(rounds[name]["seconds"], alone)]

    def memory(name: str) -> str:
        bare = rounds["unwatched"]["kilobytes"][-1]
        grown = rounds[name]["kilobytes"][-1] - bare
        return f"{grown / 1024:+.1f} MiB, {grown / bare:+.1%}"

    own = cost("danlu")
    peer = [f"{median(cost('Cockpit')):+.1%}", memory("Cockpit")] if "Cockpit" in rounds else ["does not run", ""]
    account = f"{rounds['danlu']['own account'][-1]:.1%}"
    span = f"{min(own):+.1%} - {max(own):+.1%}"
    cells = [title, f"{1000 * median(alone):.2f}", f"{median(own):+.1%}", span, account, memory("danlu"), *peer]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()

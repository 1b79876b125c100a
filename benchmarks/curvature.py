"""Compare curvature with PyHessian and curvlinops in one run: `python benchmarks/curvature.py --peers DIR`.

Measures the largest Hessian eigenvalue of LeNet on 2,048 MNIST-sized images to 1 %, and a Hessian-vector product
relative to a gradient. Contenders take turns as in speed.py: each is warmed up, the others are stopped meanwhile, and
ratios are medians of the ratios within each round. Each peer runs at the loosest tolerance whose result is within 1 %
of its converged value.
"""

from __future__ import annotations

import argparse
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch
from material import write_arrays
from speed import HERE, PEERS, Contender, compare, say

RESULTS = HERE / "results" / "curvature.md"
GOALS = {"PyHessian": 1.5, "curvlinops": 4.0}  # danlu's speed over theirs
PRODUCT_GOAL = 2.2  # time of a product over the time of a gradient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds per contender [7]")
    parser.add_argument("--count", type=int, default=2048, help="images [2048]")
    parser.add_argument("--peers", type=Path, default=PEERS, help="environment with the peers [.venv-peers]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="danlu-bench-") as made:
        folder = Path(made)
        data = folder / "mnist.npz"
        said = write_arrays("mnist", 28, 1, options.count, data)
        job = {"data": str(data), "count": options.count}
        python = str(options.peers / "bin" / "python")
        contenders = [
            Contender("danlu", "curvature_danlu.py", job),
            Contender("PyHessian", "curvature_pyhessian.py", job, python),
            Contender("curvlinops", "curvature_curvlinops.py", job, python),
        ]
        lost = compare(contenders, options.rounds, folder)
    page = "\n".join(report(contenders, said, options.count, options.rounds) + lost)
    print(page)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(page + "\n", encoding="utf-8")
    say(f"written to {RESULTS}")


def report(contenders: list[Contender], said: str, count: int, rounds: int) -> list[str]:
    """Format the page as lines of Markdown."""
    lines = [
        "# Curvature",
        "",
        f"LeNet, {count:,} images ({said}), {rounds} rounds, torch {torch.__version__}, danlu {version('danlu')}, "
        f"{torch.get_num_threads()} threads.",
        "",
        "| largest eigenvalue to 1 % | seconds, median | min - max | value | danlu is faster | goal | settings |",
        "|---|---|---|---|---|---|---|",
    ]
    own = contenders[0].rounds
    for contender in contenders:
        if not contender.rounds:
            continue
        seconds = contender.rounds["seconds"]
        times = median(theirs / ours for theirs, ours in zip(seconds, own["seconds"]))
        goal = GOALS.get(contender.name)
        said = "" if goal is None else f">= {goal:g}, {'reached' if times >= goal else 'missed'}"
        lines.append(
            f"| {contender.name} | {median(seconds):.2f} | {min(seconds):.2f} - {max(seconds):.2f} | "
            f"{contender.rounds['value'][-1]:.4f} | {times:.2f} x | {said} | {contender.settings} |"
        )
    ratios = {
        c.name: ", ".join(f"{theirs / ours:.2f}" for theirs, ours in zip(c.rounds["seconds"], own["seconds"]))
        for c in contenders[1:]
        if c.rounds
    }
    lines += ["", *(f"danlu is faster than {name} by, round by round: {said}." for name, said in ratios.items())]
    lines += ["", "| Hessian-vector product / gradient | median | goal |", "|---|---|---|"]
    for name, words in (("gradient", "one batch"), ("gradient_in_pieces", "the same batch in pieces")):
        times = median(product / gradient for product, gradient in zip(own["product"], own[name]))
        reached = "reached" if times <= PRODUCT_GOAL else "missed"
        lines.append(f"| gradient of {words}: {median(own[name]):.3f} s | {times:.2f} | <= {PRODUCT_GOAL}, {reached} |")
    return lines


if __name__ == "__main__":
    main()

"""Does each network learn what the books say? `python benchmarks/networks.py [--only NAME ...]`.

Trains networks by `danlu train`'s own function on MNIST and CIFAR-10 (looked for under $DANLU_DATA) and prints test
accuracy, time per epoch and parameters beside the published figure and its source. Sizes fit two cores: full sets for
the small networks, stated subsets for the others. --long adds the papers' full recipes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

import danlu

RESULTS = Path(__file__).resolve().parent / "results" / "networks.md"
SIGNS = {"augment": {"preset": "none", "rotate": 10.0, "scale": 0.15, "shear": 15.0, "pad": 2}}  # LeCun's distortions


@dataclass(frozen=True)
class Case:
    """settings: of danlu.train. published: accuracy in % with its source. long: only with --long."""

    data: str
    model: str
    settings: dict[str, Any]
    published: str
    note: str = ""
    long: bool = False


PAPER = {  # He et al. 2015, section 4.2: 64,000 steps of 128
    "epochs": 182, "batch_size": 128, "optim": {"name": "momentum", "lr": 0.1, "weight_decay": 1e-4},
    "schedule": {"name": "step", "every": 91.0, "factor": 0.1},
    "augment": {"preset": "none", "pad": 4, "flip": "lr"},
}  # fmt: skip
CASES = (
    Case("mnist", "softmax", {"epochs": 12}, "92 (d2l, LeCun et al. 1998: 91.6 linear)"),
    Case("mnist", "mlp", {"epochs": 15}, "98 (LeCun et al. 1998: 97.05 to 98.4)"),
    Case("mnist", "lenet", {"epochs": 10}, "99.05 (LeNet-5 without distortions, LeCun et al. 1998)"),
    Case("mnist", "lenet5", {"epochs": 20, "size": 32} | SIGNS, "99.05; 99.2 with distortions (LeCun et al. 1998)"),
    Case("mnist", "perceptron", {"epochs": 5}, "88 (linear, one layer; LeCun et al. 1998)"),
    Case("cifar10", "resnet20", {"epochs": 26}, "91.25 (He et al. 2015, 182 epochs)", "26 epochs, one cycle"),
    Case("cifar10", "resnet20", PAPER, "91.25 (He et al. 2015)", "the paper's recipe", long=True),
    *(
        Case("cifar10", model, {"epochs": 6, "data": {"limit": 5000}}, published, "5,000 pictures, 6 epochs")
        for model, published in (
            ("nin-cifar", "89.6 to 91.2 (Lin et al. 2013, all pictures)"),
            ("vgg11-cifar", "about 92 (all pictures)"),
            ("resnet18-cifar", "about 95 (all pictures)"),
            ("vit-tiny", "no figure at this size"),
        )
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="networks by name; may be given again")
    parser.add_argument("--long", action="store_true", help="the papers' full recipes too (hours on a processor)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    lines = [
        "| data | network | parameters | test accuracy | seconds an epoch | published | recipe |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory(prefix="danlu-bench-") as folder:
        for number, case in enumerate(CASES):
            if (case.long and not options.long) or (options.only and case.model not in options.only):
                continue
            lines.append(row(case, Path(folder, str(number)), options.seed))
            print(lines[-1], flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def row(case: Case, out: Path, seed: int) -> str:
    """One training, as a line of the table."""
    try:
        run = danlu.train(
            case.data, model=case.model, seed=seed, out=str(out), console=Console(quiet=True), **case.settings
        )
    except (danlu.Refusal, danlu.Failure) as error:
        return f"| {case.data} | {case.model} | | {error} | | {case.published} | {case.note} |"
    summary = run.summary
    accuracy = 100 * summary["metrics"]["test"]["accuracy"]
    seconds = summary["timings"]["training"] / max(summary["epochs"], 1)
    recipe = case.note or json.dumps(case.settings).replace("|", " ")
    return (
        f"| {case.data} | {case.model} | {summary['parameters']:,} | {accuracy:.2f} % | {seconds:.1f} | "
        f"{case.published} | {recipe} |"
    )


if __name__ == "__main__":
    main()

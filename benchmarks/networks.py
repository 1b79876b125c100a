"""Compare the test accuracy of networks with published figures: `python benchmarks/networks.py [--only NAME ...]`.

Trains networks with `danlu.train` on MNIST and CIFAR-10 (from $DANLU_DATA) and prints test accuracy, time per epoch and
parameters with the published figure and its source. Workloads fit two cores: full sets for the small networks, stated
subsets for the others. --long adds the papers' full recipes.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

import danlu

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "docs" / "networks.md"
PREFACE = """# Networks and their published figures

`python benchmarks/networks.py` trains each network and writes these tables (`--only NAME` trains one, `--long` adds the
long recipes). Two cores of an AMD EPYC; long times per epoch were measured on one busy core. CIFAR-10 is read from JPEG
files of quality 75 with chroma subsampling, which lowers accuracy: published figures are for the original pixels. The
rows of lenet5 and resnet20 were trained by `danlu train` with the same settings and entered by hand.

"""
FULL = """## Trained on all images

| data | network | parameters | test accuracy | seconds per epoch | published | recipe |
|---|---|---|---|---|---|---|
"""
SHORT = """
## Short trainings

On 2,500 images of CIFAR-10 for 6 epochs: these networks learn, and this is what an epoch costs. No published figure is
comparable.

| data | network | parameters | test accuracy | seconds per epoch | recipe |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Case:
    """One training.

    settings: of danlu.train. published: accuracy in % with source, "" for a short training. note: recipe in words.
    long: takes hours.
    """

    data: str
    model: str
    settings: dict[str, Any]
    published: str = ""
    note: str = ""
    long: bool = False

    @property
    def recipe(self) -> str:
        return self.note or ", ".join(f"{value} {key}" for key, value in self.settings.items())

    @property
    def place(self) -> tuple[str, str, str]:
        """Key of its row in the table."""
        return self.data, self.model, self.recipe


def paper(epochs: int, *cuts: int) -> dict[str, Any]:
    """Recipe of He et al. 2015, section 4.2: 64,000 steps of 128 are 182 epochs, with lr cuts at 1/2 and 3/4."""
    return {
        "epochs": epochs, "batch_size": 128, "optim": {"name": "momentum", "lr": 0.1, "weight_decay": 1e-4},
        "schedule": {"name": "step", "milestones": cuts or (epochs / 2, epochs * 3 / 4), "factor": 0.1},
        "augment": {"preset": "none", "pad": 4, "flip": "lr"},
    }  # fmt: skip


def subset(network: str, size: int = 32, **settings: Any) -> Case:
    """Short training on 2,500 images of a network that is too large for a CPU: does it learn, and how fast?"""
    settings = {"epochs": 6, "batch_size": 64, "data.limit": 2500, "size": size} | settings
    note = "2,500 images, 6 epochs" + (f", enlarged to {size} px" if size > 32 else "")
    return Case("cifar10", network, settings, note=note)


HE = "91.25 (He et al. 2015, 182 epochs)"
# Deep networks without normalisation use He initialisation and a lower learning rate.
PLAIN: dict[str, Any] = {"optim": {"name": "adamw", "lr": 5e-4}}
CASES = (
    Case("mnist", "softmax", {"epochs": 12}, "92 (d2l); 91.6 linear (LeCun et al. 1998)"),
    Case("mnist", "mlp", {"epochs": 15}, "98; 97.05 to 98.4 (LeCun et al. 1998)"),
    Case("mnist", "perceptron", {"epochs": 5}, "88, linear, one layer (LeCun et al. 1998)"),
    Case("mnist", "lenet", {"epochs": 10}, "99.05, LeNet-5 without distortions (LeCun et al. 1998)"),
    Case(
        "mnist", "lenet5", {"config": HERE.parent / "configs" / "lenet5-mnist.yaml"},
        "99.05; 99.2 with distortions (LeCun et al. 1998)", "configs/lenet5-mnist.yaml, 20 epochs",
    ),
    Case("cifar10", "resnet20", {"epochs": 26}, HE, "26 epochs, one cycle"),
    Case("cifar10", "resnet20", paper(64), HE, "the paper's recipe in 64 epochs", long=True),
    Case(
        "cifar10", "resnet20", paper(121, 91, 111), HE,
        "the paper's 91 epochs before the first cut, then 20 and 10 in place of 45 each", long=True,
    ),
    Case("cifar10", "resnet20", paper(182), HE, "the paper's recipe", long=True),
    subset("alexnet", 67, **PLAIN, model={"init": "he"}),
    subset("vgg11-cifar"),
    subset("nin-cifar", **PLAIN, model={"init": "he"}),
    subset("googlenet", 64, **PLAIN, model={"init": "he"}),
    subset("bn-inception", 64),
    subset("inception-v3", 75),
    subset("resnet18-cifar"),
    subset("detnet59", 64),
    subset("vit-mini"),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="networks by name; may be repeated")
    parser.add_argument("--long", action="store_true", help="the papers' full recipes too (hours on a CPU)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    lines = known()
    with tempfile.TemporaryDirectory(prefix="danlu-bench-") as folder:
        for number, case in enumerate(CASES):
            if (case.long and not options.long) or (options.only and case.model not in options.only):
                continue
            lines[case.place] = row(case, Path(folder, str(number)), options.seed)
            print(lines[case.place], flush=True)
            write(lines)


def known() -> dict[tuple[str, str, str], str]:
    """Load the rows of earlier runs by case, so that rerunning some cases keeps the others."""
    if not RESULTS.exists():
        return {}
    cells = {line: [cell.strip() for cell in line.split("|")[1:-1]] for line in RESULTS.read_text("utf-8").splitlines()}
    return {(own[0], own[1], own[-1]): line for line, own in cells.items() if len(own) in (6, 7)}


def write(lines: dict[tuple[str, str, str], str]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    full, short = ([lines[case.place] for case in CASES if case.place in lines and bool(case.published) is wanted]
                   for wanted in (True, False))  # fmt: skip
    text = PREFACE + FULL + "\n".join(full) + "\n" + SHORT + "\n".join(short) + "\n"
    RESULTS.write_text(text, encoding="utf-8")


def row(case: Case, out: Path, seed: int) -> str:
    """Run one training; return its row of the table."""
    model = {"name": case.model} | case.settings.get("model", {})
    settings = case.settings | {"model": model, "seed": seed, "out": str(out), "console": Console(quiet=True)}
    try:
        run = danlu.train(case.data, **settings)
    except (danlu.Refusal, danlu.Failure) as error:
        return line_of(case, "", str(error), "")
    summary = run.summary
    accuracy = 100 * summary["metrics"]["test"]["accuracy"]
    seconds = summary["timings"]["training"] / max(summary["epochs"], 1)
    return line_of(case, f"{summary['parameters']:,}", f"{accuracy:.2f} %", f"{seconds:.1f}")


def line_of(case: Case, parameters: str, accuracy: str, seconds: str) -> str:
    """Row of a table; the published figure is left out of short trainings."""
    cells = [case.data, case.model, parameters, accuracy, seconds, *([case.published] if case.published else [])]
    return "| " + " | ".join([*cells, case.recipe]) + " |"


if __name__ == "__main__":
    main()

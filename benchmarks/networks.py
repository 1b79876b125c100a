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

`python benchmarks/networks.py` trains each network and writes this table (`--only NAME` trains one, `--long` adds the
long recipes). Two cores of an AMD EPYC; long times per epoch were measured on one busy core. CIFAR-10 is read from JPEG
files of quality 75 with chroma subsampling, which lowers accuracy: published figures are for the original pixels. The
rows of lenet5 and resnet20 were trained by `danlu train` with the same settings and entered by hand.

"""
HEAD = (
    "| data | network | parameters | test accuracy | seconds per epoch | published | recipe |",
    "|---|---|---|---|---|---|---|",
)


@dataclass(frozen=True)
class Case:
    """One training.

    settings: of danlu.train; published: accuracy in % with source; note: recipe in words; long: takes hours.
    """

    data: str
    model: str
    settings: dict[str, Any]
    published: str
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


def subset(network: str, published: str, size: int = 32, **settings: Any) -> Case:
    """Short training on 2,500 images of a network that is too large for a CPU: does it learn, and how fast?"""
    settings = {"epochs": 6, "batch_size": 64, "data.limit": 2500, "size": size} | settings
    note = "2,500 images, 6 epochs" + (f", enlarged to {size} px" if size > 32 else "")
    return Case("cifar10", network, settings, f"{published}, all images, its own size and recipe", note)


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
    subset("alexnet", "57.1 top-1 on ImageNet (BVLC's replication)", 67, **PLAIN, model={"init": "he"}),
    subset("vgg11-cifar", "about 92"),
    subset("nin-cifar", "89.6 to 91.2 (Lin et al. 2013)", **PLAIN, model={"init": "he"}),
    subset("googlenet", "68.7 top-1 on ImageNet (BVLC's replication)", 64, **PLAIN, model={"init": "he"}),
    subset("bn-inception", "73.5 top-1 on ImageNet", 64),
    subset("inception-v3", "77.3 top-1 on ImageNet (torchvision)", 75),
    subset("resnet18-cifar", "93.0 (pytorch-cifar)"),
    subset("detnet59", "76.5 top-1 on ImageNet (Li et al. 2018)", 64),
    subset("vit-mini", "74, a ViT-Ti/2 without pretraining (IcarusWizard/MAE)"),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="networks by name; may be repeated")
    parser.add_argument("--long", action="store_true", help="the papers' full recipes too (hours on a CPU)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    lines = known()
    print("\n".join(HEAD), flush=True)
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
    return {(own[0], own[1], own[-1]): line for line, own in cells.items() if len(own) == 7}


def write(lines: dict[tuple[str, str, str], str]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    found = [lines[case.place] for case in CASES if case.place in lines]
    RESULTS.write_text(PREFACE + "\n".join((*HEAD, *found)) + "\n", encoding="utf-8")


def row(case: Case, out: Path, seed: int) -> str:
    """Run one training; return its row of the table."""
    model = {"name": case.model} | case.settings.get("model", {})
    settings = case.settings | {"model": model, "seed": seed, "out": str(out), "console": Console(quiet=True)}
    try:
        run = danlu.train(case.data, **settings)
    except (danlu.Refusal, danlu.Failure) as error:
        return f"| {case.data} | {case.model} | | {error} | | {case.published} | {case.recipe} |"
    summary = run.summary
    accuracy = 100 * summary["metrics"]["test"]["accuracy"]
    seconds = summary["timings"]["training"] / max(summary["epochs"], 1)
    return (
        f"| {case.data} | {case.model} | {summary['parameters']:,} | {accuracy:.2f} % | {seconds:.1f} | "
        f"{case.published} | {case.recipe} |"
    )


if __name__ == "__main__":
    main()

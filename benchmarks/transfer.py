"""Compare fine-tuning with random initialisation on few labels: `python benchmarks/transfer.py [mnist ...]`.

A network is pretrained on the first five classes of a set with all labels (`cifar10-tenth`: the first nine). It is then
fine-tuned (`--init`, and with `--freeze all-but-head`) on the other five classes with a few labels per class
(`cifar10-tenth`: on all ten, reusing the classifier rows of the nine known classes). For comparison, the same network
is trained from random initialisation for the same number of epochs and for three times as many. All other settings are
danlu's defaults. The figure is the accuracy of the last epoch's weights on all test images of these classes: mean and
standard deviation over seeds, each with its own pretraining, labels and order.

MNIST and CIFAR-10 are read from $DANLU_DATA. Everything runs on the CPU.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

import danlu
from danlu.config import DataConfig
from danlu.data.dataset import TEST, TRAIN
from danlu.data.formats import open_dataset
from danlu.data.inputs import image_inputs

QUIET = Console(quiet=True)


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    known: classes of the pretraining; again: whether the second task contains them too; shots: labels per class.
    """

    data: str
    model: str
    side: int
    colour: Literal["grey", "rgb"]
    pretraining_epochs: int
    epochs: int
    shots: tuple[int, ...]
    known: int = 5
    again: bool = False


EXPERIMENTS = {
    "mnist": Experiment("mnist", "lenet", 28, "grey", 5, 20, (10, 30, 100)),
    "cifar10": Experiment("cifar10", "resnet20", 32, "rgb", 6, 20, (100,)),
    "cifar10-tenth": Experiment("cifar10", "resnet20", 32, "rgb", 6, 20, (100,), known=9, again=True),
}

# Method -> additional settings; epochs are a multiple of the experiment's.
WAYS: dict[str, dict[str, Any]] = {
    "random initialisation": {},
    "random initialisation, three times the epochs": {"epochs": 3},
    "fine-tuned": {"init": True},
    "fine-tuned, all but the head frozen": {"init": True, "freeze": "all-but-head"},
}


class Images:
    """A set in memory: x uint8 (N, side, side[, 3]), y class names (N,), and the mask of test samples."""

    def __init__(self, experiment: Experiment) -> None:
        dataset = open_dataset(DataConfig(path=experiment.data))
        side, colour = experiment.side, experiment.colour
        source = image_inputs(dataset, size=side, colour=colour, memory=True).source
        x = source.permute(0, 2, 3, 1).numpy()  # type: ignore[union-attr]
        self.x = x[..., 0] if colour == "grey" else x
        self.y = np.array(dataset.classes)[dataset.targets.numpy()]  # type: ignore[union-attr]
        given = dataset.given.numpy()  # type: ignore[union-attr]
        self.train, self.test = given == TRAIN, given == TEST
        self.first = dataset.classes[: experiment.known]
        self.then = dataset.classes if experiment.again else dataset.classes[experiment.known :]

    def write(self, path: Path, classes: tuple[str, ...], shots: int | None = None, seed: int = 0) -> str:
        """Write an .npz of these classes: their training images (all, or `shots` per class) and all test images."""
        rng = np.random.default_rng(seed)
        rows = [np.flatnonzero(self.train & (self.y == name)) for name in classes]
        train = np.concatenate([part if shots is None else rng.choice(part, shots, replace=False) for part in rows])
        test = np.flatnonzero(self.test & np.isin(self.y, classes))
        arrays = {"x_train": train, "x_test": test}
        arrays = {name: self.x[index] for name, index in arrays.items()}
        np.savez(path, **arrays, y_train=self.y[train], y_test=self.y[test])
        return str(path)


def trained(data: str, out: Path, experiment: Experiment, epochs: int, **settings: Any) -> float:
    """Train and return the test accuracy of the last weights; the run is kept in `out`."""
    shape = {"model": experiment.model, "val": 0, "epochs": epochs, "device": "cpu"}
    run = danlu.train(data, out=str(out), console=QUIET, **shape, **settings)
    return run.summary["metrics"]["test"]["accuracy"]


def measure(name: str, seeds: int, folder: Path) -> dict[tuple[str, int], list[float]]:
    """Train every method; return (method, labels per class) -> accuracy per seed."""
    experiment, found = EXPERIMENTS[name], dict[tuple[str, int], list[float]]()
    images = Images(experiment)
    everything = images.write(folder / "first.npz", images.first)
    for seed in range(seeds):
        start = folder / f"first-{seed}"
        before = trained(everything, start, experiment, experiment.pretraining_epochs, seed=seed)
        say(f"{name}, seed {seed}: {before:.4f} on its own test images after pretraining")
        for shots in experiment.shots:
            few = images.write(folder / f"few-{seed}-{shots}.npz", images.then, shots, seed)
            for number, (way, changes) in enumerate(WAYS.items()):
                settings = {"seed": seed} | changes
                epochs = experiment.epochs * settings.pop("epochs", 1)
                if settings.pop("init", False):
                    settings["init"] = str(start)
                accuracy = trained(few, folder / f"{seed}-{shots}-{number}", experiment, epochs, **settings)
                found.setdefault((way, shots), []).append(accuracy)
                say(f"{name}, seed {seed}, {shots} per class, {way}: {accuracy:.4f}")
    return found


def table(name: str, found: dict[tuple[str, int], list[float]]) -> str:
    experiment = EXPERIMENTS[name]
    lines = [
        f"| {name}, {experiment.model}, {experiment.epochs} epochs | "
        + " | ".join(f"{shots} per class" for shots in experiment.shots)
        + " |",
        "|---|" + "--:|" * len(experiment.shots),
    ]
    for way in WAYS:
        cells = [_cell(found[way, shots]) for shots in experiment.shots]
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{spread}"


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sets", nargs="*", metavar="|".join(EXPERIMENTS), help="experiments; all by default")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    if unknown := set(given.sets) - set(EXPERIMENTS):
        parser.error(f"unknown experiment {unknown.pop()!r}: choose from {', '.join(EXPERIMENTS)}")
    for name in given.sets or EXPERIMENTS:
        with tempfile.TemporaryDirectory() as folder:
            print(table(name, measure(name, given.seeds, Path(folder))), flush=True)


if __name__ == "__main__":
    main()

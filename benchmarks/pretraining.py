"""Compare pretraining without labels with none at equal time: `python benchmarks/pretraining.py --methods simclr`.

`IMAGES` training images of CIFAR-10 are used without labels to pretrain a network. It is then fine-tuned on a few of
them with labels. For comparison, the same network is trained on these labels from random initialisation: for the same
number of epochs, and for as many as fit into the time of pretraining and fine-tuning together. The last row is
scikit-learn's logistic regression on the features of the packaged EfficientNet-Lite0 (ImageNet, with labels), for
images enlarged to `PROBE_SIDE` pixels. All other settings are danlu's defaults.

The figures are the accuracy of the last epoch's weights on all test images in %, mean and standard deviation over
seeds, each with its own pretraining, labels and order, and the mean processor time in minutes, pretraining included.
CIFAR-10 is read from $DANLU_DATA. Everything runs on the CPU.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from photographs import network
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import interpolate

import danlu
from danlu.config import DataConfig
from danlu.data.dataset import TEST, TRAIN
from danlu.data.formats import open_dataset
from danlu.data.inputs import image_inputs
from danlu.pretraining.methods import METHODS

QUIET = Console(quiet=True)
IMAGES = 10_000  # without labels
EPOCHS = {500: 60, 1000: 40, 5000: 16}  # labels -> epochs of a training
PROBE_SIDE = 96  # pixels
NONE, NONE_LONGER = "random initialisation", "random initialisation, equal total time"
PROBE = "logistic regression on EfficientNet-Lite0's features"

Cells = dict[tuple[str, int], list[tuple[float, float]]]  # (way, labels) -> (accuracy, minutes) per seed


class Images:
    """CIFAR-10 in memory: x uint8 (N, 32, 32, 3), y (N,), and the rows of the training and test images."""

    def __init__(self) -> None:
        dataset = open_dataset(DataConfig(path="cifar10"))
        source = image_inputs(dataset, size=32, colour="rgb", memory=True).source
        self.x = source.permute(0, 2, 3, 1).numpy()  # type: ignore[union-attr]
        self.y = dataset.targets.numpy()  # type: ignore[union-attr]
        given = dataset.given.numpy()  # type: ignore[union-attr]
        self.train, self.test = np.flatnonzero(given == TRAIN), np.flatnonzero(given == TEST)

    def drawn(self, count: int, seed: int) -> np.ndarray:
        """Rows of `count` training images, equally many of each class."""
        rng = np.random.default_rng(seed)
        shots = count // (int(self.y.max()) + 1)
        rows = [rng.permutation(self.train[self.y[self.train] == label])[:shots] for label in np.unique(self.y)]
        return np.concatenate(rows)

    def write(self, path: Path, rows: np.ndarray, tested: bool = True) -> str:
        """Write an .npz of these training images, and all test images where `tested`."""
        arrays = {"x_train": self.x[rows], "y_train": self.y[rows]}
        if tested:
            arrays |= {"x_test": self.x[self.test], "y_test": self.y[self.test]}
        np.savez(path, **arrays)
        return str(path)


@torch.inference_mode()
def features(x: np.ndarray) -> np.ndarray:
    """Features (N, 1280) of the packaged network for uint8 images (N, 32, 32, 3)."""
    model, found = network(), []
    for rows in np.array_split(x, max(1, len(x) // 100)):
        pixels = torch.from_numpy(rows).permute(0, 3, 1, 2) / 127.5 - 1
        large = interpolate(pixels, size=(PROBE_SIDE, PROBE_SIDE), mode="bicubic", antialias=True)
        found.append(model(large))
    return torch.cat(found).numpy()


def probe(images: Images, rows: np.ndarray, tested: np.ndarray) -> float:
    """Test accuracy of the logistic regression. tested: features of the test images."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    classifier.fit(features(images.x[rows]), images.y[rows])
    return float(classifier.score(tested, images.y[images.test]))


@dataclass
class Comparison:
    """Trains everything with one seed, in `folder`, and adds the results to `found`.

    tested: features of the test images by the packaged network. epochs: of pretraining.
    """

    images: Images
    tested: np.ndarray
    model: str
    epochs: int
    seed: int
    folder: Path
    found: Cells

    def run(self, methods: list[str], labels: list[int]) -> None:
        unlabelled = self.images.write(
            self.folder / "unlabelled.npz", self.images.drawn(IMAGES, self.seed), tested=False
        )
        minutes = {method: self.pretrained(unlabelled, method) for method in methods}
        for count in labels:
            self.compare(count, minutes)

    def pretrained(self, data: str, method: str) -> float:
        """Pretrain into the folder of this name; return minutes."""
        start = time.process_time()
        danlu.pretrain(data, method=method, epochs=self.epochs, **self._settings(method))
        minutes = (time.process_time() - start) / 60
        say(f"seed {self.seed}, {method}: {minutes:.2f} min")
        return minutes

    def compare(self, count: int, before: dict[str, float]) -> None:
        """Train on `count` labels in each way. before: method -> minutes of its pretraining."""
        rows = self.images.drawn(count, self.seed)
        data = self.images.write(self.folder / f"few-{count}.npz", rows)
        for method, minutes in before.items():
            accuracy, own = self.trained(data, f"{method}-{count}", EPOCHS[count], str(self.folder / method))
            self.note(method, count, accuracy, minutes + own)
        accuracy, minutes = self.trained(data, f"none-{count}", EPOCHS[count])
        self.note(NONE, count, accuracy, minutes)
        epochs = round(EPOCHS[count] * (1 + max(before.values()) / minutes))
        self.note(NONE_LONGER, count, *self.trained(data, f"longer-{count}", epochs))
        start = time.process_time()
        accuracy = probe(self.images, rows, self.tested)
        self.note(PROBE, count, accuracy, (time.process_time() - start) / 60)

    def trained(self, data: str, name: str, epochs: int, init: str = "none") -> tuple[float, float]:
        """Test accuracy of the last weights, and minutes."""
        start = time.process_time()
        run = danlu.train(data, val=0, epochs=epochs, init=init, **self._settings(name))
        return run.summary["metrics"]["test"]["accuracy"], (time.process_time() - start) / 60

    def note(self, way: str, count: int, accuracy: float, minutes: float) -> None:
        self.found.setdefault((way, count), []).append((accuracy, minutes))
        say(f"seed {self.seed}, {count} labels, {way}: {accuracy:.4f}, {minutes:.2f} min")

    def _settings(self, name: str) -> dict[str, Any]:
        shared = {"model": self.model, "seed": self.seed, "device": "cpu", "console": QUIET}
        return shared | {"out": str(self.folder / name)}


def table(found: Cells, ways: list[str], labels: list[int]) -> str:
    """A row per way, a column per number of labels."""
    head = ["| CIFAR-10 | " + " | ".join(f"{count} labels" for count in labels) + " |", "|---|" + "---|" * len(labels)]
    rows = [f"| {way} | " + " | ".join(cell(found[way, count]) for count in labels) + " |" for way in ways]
    return "\n".join(head + rows)


def cell(results: list[tuple[float, float]]) -> str:
    """Mean and standard deviation of accuracies in %, and mean minutes."""
    accuracies, minutes = zip(*results)
    spread = f" ± {100 * statistics.stdev(accuracies):.1f}" if len(accuracies) > 1 else ""
    return f"{100 * statistics.mean(accuracies):.1f}{spread}, {statistics.mean(minutes):.1f} min"


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), default=["simclr"])
    parser.add_argument("--labels", nargs="+", type=int, choices=tuple(EPOCHS), default=list(EPOCHS))
    parser.add_argument("--model", default="resnet20", help="network; masked images need vit-mini, but for simmim")
    parser.add_argument("--epochs", type=int, default=10, help="of pretraining")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    given = parser.parse_args()
    images, found = Images(), Cells()
    tested = features(images.x[images.test])
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as folder:
            one = Comparison(images, tested, given.model, given.epochs, seed, Path(folder), found)
            one.run(given.methods, given.labels)
    print(table(found, [*given.methods, NONE, NONE_LONGER, PROBE], given.labels), flush=True)


if __name__ == "__main__":
    main()

"""Compare fine-tuning by default with a logistic regression on frozen features.

`python benchmarks/photographs.py flower17 --shots 10 60`. Each seed draws a number of training images per class, and up
to `TEST_IMAGES` others per class for the test. On the same images:

- danlu: `danlu train FOLDER`, which fine-tunes the packaged EfficientNet-Lite0 where the images are photographs;
- frozen: the same with `--freeze all-but-head`;
- probe: scikit-learn's logistic regression on the 1,280 features of the same network, at 192 pixels;
- random: `danlu train FOLDER --pretrained none`.
The figures are test accuracies in %, mean and standard deviation over the seeds, and processor time per training.

Sets are folders with one folder per class, or such folders in train/ and test/, in $DANLU_DATA. Runs on the CPU.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

import danlu
from danlu.models.packaged import EFFICIENTNET_LITE0

QUIET = Console(quiet=True)
TEST_IMAGES = 100  # per class, at most
PROBE_SIZE = 192  # pixels
WAYS: dict[str, dict[str, Any]] = {
    "danlu": {},
    "frozen": {"freeze": "all-but-head"},
    "random": {"pretrained": "none"},
}


def draw(source: Path, shots: int, seed: int, folder: Path) -> None:
    """Copy `shots` images per class to folder/train and others to folder/test."""
    rng = random.Random(seed)
    own_test = (source / "test").is_dir()
    for kind in sorted(path for path in (source / "train" if own_test else source).iterdir() if path.is_dir()):
        images = sorted(kind.iterdir())
        rng.shuffle(images)
        others = sorted((source / "test" / kind.name).iterdir()) if own_test else images[shots:]
        for split, chosen in (("train", images[:shots]), ("test", others[:TEST_IMAGES])):
            (folder / split / kind.name).mkdir(parents=True)
            for image in chosen:
                shutil.copy(image, folder / split / kind.name)


def network() -> nn.Module:
    """The packaged network without its classifier."""
    import timm

    model = timm.create_model(EFFICIENTNET_LITE0.network)
    model.load_state_dict(EFFICIENTNET_LITE0.load().state)
    model.reset_classifier(0)  # type: ignore[operator]
    return model.eval()


def features(model: nn.Module, folder: Path) -> tuple[np.ndarray, list[str]]:
    """Features (N, 1280) of all images below the folder, and the names of their classes."""
    paths = sorted(folder.glob("*/*"))
    found = [model(torch.stack([pixels(path) for path in paths[i : i + 32]])) for i in range(0, len(paths), 32)]
    return torch.cat(found).numpy(), [path.parent.name for path in paths]


def pixels(path: Path) -> Tensor:
    """The central square of an image, float32 (3, PROBE_SIZE, PROBE_SIZE) in [-1, 1]."""
    image = Image.open(path).convert("RGB")
    left, top = ((length - min(image.size)) / 2 for length in image.size)
    square = (left, top, left + min(image.size), top + min(image.size))
    small = image.resize((PROBE_SIZE, PROBE_SIZE), Image.Resampling.BICUBIC, square, reducing_gap=3)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1) / 127.5 - 1


@torch.inference_mode()
def probe(folder: Path) -> float:
    """Test accuracy of the logistic regression."""
    model = network()
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    classifier.fit(*features(model, folder / "train"))
    return float(classifier.score(*features(model, folder / "test")))


def trained(folder: Path, out: Path, **settings: Any) -> float:
    """Test accuracy of a training with danlu's other defaults."""
    run = danlu.train(str(folder), out=str(out), device="cpu", console=QUIET, **settings)
    return run.summary["metrics"]["test"]["accuracy"]


def measure(name: str, shots: int, seeds: int, ways: list[str]) -> list[str]:
    """Return a row of the table for each way."""
    source = Path(os.environ["DANLU_DATA"]) / name
    accuracies: dict[str, list[float]] = {way: [] for way in ways}
    minutes: dict[str, list[float]] = {way: [] for way in accuracies}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as kept:
            folder = Path(kept) / name
            draw(source, shots, seed, folder)
            for way, found in accuracies.items():
                start = time.process_time()
                settings = {"seed": seed, **WAYS.get(way, {})}
                found.append(probe(folder) if way == "probe" else trained(folder, Path(kept) / way, **settings))
                minutes[way].append((time.process_time() - start) / 60)
                print(f"{name} {shots} seed {seed} {way}: {found[-1]:.4f}, {minutes[way][-1]:.1f} min", flush=True)
    return [f"| {name}, {shots} per class | {way} | {cell(accuracies[way], minutes[way])} |" for way in accuracies]


def cell(accuracies: list[float], minutes: list[float]) -> str:
    """Mean and standard deviation in %, and mean time."""
    spread = 100 * statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    return f"{100 * statistics.mean(accuracies):.1f} ± {spread:.1f} | {statistics.mean(minutes):.1f} min"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sets", nargs="+", metavar="SET", help="folders in $DANLU_DATA")
    parser.add_argument("--shots", type=int, nargs="+", default=[10], help="training images per class")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=(*WAYS, "probe"), default=["danlu", "frozen", "probe", "random"])
    given = parser.parse_args()
    rows = [
        row for name in given.sets for shots in given.shots for row in measure(name, shots, given.seeds, given.ways)
    ]
    print("\n".join(("| set | way | test accuracy | processor time |", "|---|---|---|---|", *rows)))


if __name__ == "__main__":
    main()

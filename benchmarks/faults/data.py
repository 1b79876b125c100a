"""Data of the benchmark: small real and synthetic sets as standardised tensors with a fixed training/validation split.

MNIST (idx), CIFAR-10 (JPEG folders) and California housing are read from $DANLU_DATA; without it their set-ups are left
out (`missing()` says which).
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

CIFAR_CLASSES = ("airplane", "automobile", "frog")  # three that a small network separates in seconds


@dataclass(frozen=True)
class Data:
    """x (N, ...) float, y (N,) int64 for task "classes", (N, 1) float for "binary" (0 or 1) and "numbers"."""

    x: Tensor
    y: Tensor
    x_val: Tensor
    y_val: Tensor
    task: str
    outputs: int


def split(x: np.ndarray, y: np.ndarray, task: str, seed: int, fraction: float = 0.25) -> Data:
    """Hold out a fraction, stratified for classes; standardise inputs and numbers by the training set."""
    from sklearn.model_selection import train_test_split

    parts = train_test_split(x, y, test_size=fraction, random_state=seed, stratify=None if task == "numbers" else y)
    x, x_val = (torch.tensor(part, dtype=torch.float32) for part in parts[:2])
    y, y_val = (torch.tensor(part) for part in parts[2:])
    over = 0 if x.dim() == 2 else None  # per column; one mean and deviation for images
    mean = x.mean(over)
    scale = x.std(over).clamp_min(1e-6)
    x, x_val = (x - mean) / scale, (x_val - mean) / scale
    if task == "classes":
        return Data(x, y.long(), x_val, y_val.long(), task, int(y.max()) + 1)
    y, y_val = y.float()[:, None], y_val.float()[:, None]
    if task == "numbers":
        y, y_val = (y - y.mean()) / y.std(), (y_val - y.mean()) / y.std()
    return Data(x, y, x_val, y_val, task, 1)


def digits(seed: int) -> Data:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return split(x.reshape(-1, 1, 8, 8), y, "classes", seed)


def moons(seed: int) -> Data:
    from sklearn.datasets import make_moons

    return split(*make_moons(3000, noise=0.15, random_state=seed), "binary", seed)


def circles(seed: int) -> Data:
    from sklearn.datasets import make_circles

    return split(*make_circles(3000, noise=0.08, factor=0.5, random_state=seed), "binary", seed)


def blobs(seed: int) -> Data:
    from sklearn.datasets import make_blobs

    x, y = make_blobs(3000, n_features=8, centers=5, cluster_std=4.0, random_state=seed)[:2]
    return split(x, y, "classes", seed)


def cancer(seed: int) -> Data:
    from sklearn.datasets import load_breast_cancer

    return split(*load_breast_cancer(return_X_y=True), "binary", seed)


def wine(seed: int) -> Data:
    from sklearn.datasets import load_wine

    return split(*load_wine(return_X_y=True), "classes", seed)


def diabetes(seed: int) -> Data:
    from sklearn.datasets import load_diabetes

    return split(*load_diabetes(return_X_y=True, scaled=False), "numbers", seed)


def friedman(seed: int) -> Data:
    from sklearn.datasets import make_friedman1

    return split(*make_friedman1(3000, n_features=10, noise=1.0, random_state=seed), "numbers", seed)


def friedman2(seed: int) -> Data:
    from sklearn.datasets import make_friedman2

    return split(*make_friedman2(3000, noise=60.0, random_state=seed), "numbers", seed)


def california(seed: int) -> Data:
    """Eight numeric columns, 3,000 districts of the 20,640, rows with missing values left out."""
    table = _california()
    rows = np.random.default_rng(seed).choice(len(table), 3000, replace=False)
    return split(table[rows, :8], table[rows, 8], "numbers", seed)


@lru_cache(1)
def _california() -> np.ndarray:
    table = np.genfromtxt(root() / "california-housing" / "housing.csv", delimiter=",", skip_header=1, usecols=range(9))
    table = table[~np.isnan(table).any(axis=1)]
    table[:, 3:7] = np.log1p(table[:, 3:7])  # counts of rooms and people have long tails
    return table


def mnist(seed: int) -> Data:
    """3,200 images of 14 x 14 (the mean of 2 x 2 pixels)."""
    images, labels = _mnist()
    rows = np.random.default_rng(seed).choice(len(labels), 3200, replace=False)
    small = images[rows].reshape(-1, 1, 14, 2, 14, 2).mean(axis=(3, 5))
    return split(small, labels[rows], "classes", seed)


@lru_cache(1)
def _mnist() -> tuple[np.ndarray, np.ndarray]:
    folder = root() / "mnist"
    with (
        gzip.open(folder / "train-images-idx3-ubyte.gz") as images,
        gzip.open(folder / "train-labels-idx1-ubyte.gz") as labels,
    ):
        x = np.frombuffer(images.read(), np.uint8, offset=16).reshape(-1, 28, 28)
        y = np.frombuffer(labels.read(), np.uint8, offset=8)
    return x[:20000], y[:20000]


def cifar(seed: int) -> Data:
    """Three classes, 800 images of each, at 16 x 16."""
    images, labels = _cifar()
    return split(images, labels, "classes", seed)


@lru_cache(1)
def _cifar() -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image

    images, labels = [], []
    for label, name in enumerate(CIFAR_CLASSES):
        for file in sorted((root() / "cifar10-jpeg" / "train" / name).iterdir())[:800]:
            with Image.open(file) as image:
                images.append(np.asarray(image.convert("RGB").resize((16, 16), Image.Resampling.BOX)))
            labels.append(label)
    return np.stack(images).transpose(0, 3, 1, 2), np.array(labels)


def root() -> Path:
    return Path(os.environ.get("DANLU_DATA") or "~/.cache/danlu").expanduser()


NEEDS: dict[Callable[[int], Data], str] = {
    mnist: "mnist/train-images-idx3-ubyte.gz",
    cifar: f"cifar10-jpeg/train/{CIFAR_CLASSES[0]}",
    california: "california-housing/housing.csv",
}


def present(data: Callable[[int], Data]) -> bool:
    return data not in NEEDS or (root() / NEEDS[data]).exists()


def missing() -> list[str]:
    """Names of the sets missing from $DANLU_DATA."""
    return [data.__name__ for data in NEEDS if not present(data)]

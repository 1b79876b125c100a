"""Ten ways to train with objects of your own: python examples/bring_your_own.py [OUT]. Each takes a second or two."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas
import torch
import torch.nn.functional as F
from PIL import Image
from rich.console import Console
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split
from torchvision.transforms import v2

import danlu
from danlu.inference.loaded_run import LoadedRun

digits = load_digits()
x = torch.tensor(digits.images[:500], dtype=torch.float32)[:, None] / 16  # (500, 1, 8, 8)
y = torch.tensor(digits.target[:500])


def build(classes: int, channels: int = 1, size: int = 8) -> nn.Module:
    """A small network; danlu passes the facts about the data."""
    convolution = nn.Conv2d(channels, 8, 3, padding=1)
    return nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(8 * size * size, classes))


class Digits(Dataset):
    """A dataset of PIL images."""

    classes = tuple(f"digit {k}" for k in range(10))

    def __len__(self) -> int:
        return 500

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray((digits.images[index] * 15.9).astype(np.uint8)), int(digits.target[index])


class Best(danlu.Callback):
    """A callback with state of its own."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_epoch_end(self, state: danlu.TrainingState) -> None:
        self.losses.append(state.metrics["val.loss"])
        if len(self.losses) > 1 and self.losses[-1] > 2 * min(self.losses):
            state.stop("the validation loss doubled")


def focal(outputs: Tensor, targets: Tensor) -> Tensor:
    """A loss: the mean over the batch."""
    log_p = F.log_softmax(outputs, 1).gather(1, targets[:, None])
    return (-((1 - log_p.exp()) ** 2) * log_p).mean()


def error(outputs: Tensor, targets: Tensor) -> float:
    """A metric on a whole split."""
    return (outputs.argmax(1) != targets).float().mean().item()


def table() -> pandas.DataFrame:
    """A table with numbers, text and a price."""
    rng = np.random.default_rng(0)
    rooms, area = rng.integers(1, 6, 400), rng.uniform(20, 150, 400)
    town = rng.choice(["north", "south"], 400)
    price = 1000 * area + 5000 * rooms + 20_000 * (town == "south") + rng.normal(0, 3000, 400)
    return pandas.DataFrame({"rooms": rooms, "area": area, "town": town, "price": price})


COMBINATIONS: dict[str, Callable[..., LoadedRun]] = {
    "tensors and a module": partial(danlu.train, (x, y), model=build(10)),
    "numpy arrays, a builder and a loss": partial(danlu.train, (x.numpy(), y.numpy()), model=build, loss=focal),
    "a Dataset of PIL images, danlu's network": partial(danlu.train, Digits()),
    "a Dataset and a transform of torchvision": partial(
        danlu.train,
        Digits(),
        model=build,
        transform=v2.Compose([v2.RandomCrop(8, padding=1), v2.ToDtype(torch.float32, scale=True)]),
    ),
    "DataLoaders": partial(
        danlu.train,
        DataLoader(TensorDataset(x[:400], y[:400]), batch_size=25, shuffle=True),
        val=DataLoader(TensorDataset(x[400:], y[400:]), batch_size=100),
        model=build,
    ),
    "splits, and mixup of batches": partial(
        danlu.train,
        tuple(random_split(TensorDataset(x, y), [400, 50, 50], torch.Generator().manual_seed(0))),
        model=build,
        transform=v2.MixUp(num_classes=10),
    ),
    "an optimiser and a scheduler of torch": partial(
        danlu.train,
        (x, y),
        model=build,
        optimizer=partial(torch.optim.SGD, momentum=0.9),
        scheduler=torch.optim.lr_scheduler.OneCycleLR,
        lr=0.05,
    ),
    "metrics and callbacks": partial(danlu.train, (x, y), model=build, metrics={"error": error}, callbacks=Best()),
    "a DataFrame": partial(danlu.train, table(), target="price"),
    "folds and averaged weights": partial(danlu.train, (x, y), model=build, folds=2, optim={"ema": 0.9}),
}


def main(out: Path, epochs: int = 3) -> dict[str, LoadedRun]:
    """Run every combination, each into its own folder of `out`."""
    runs = {}
    for number, (title, train) in enumerate(COMBINATIONS.items(), 1):
        runs[title] = train(epochs=epochs, out=out / str(number), console=Console(quiet=True))
        print(f"{number:2}. {title}: {runs[title]}")
    return runs


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/bring_your_own"))

"""Shared parts of the plain loop and Lightning: torchvision's transforms in a DataLoader, an optimiser, in fp32.

They follow the documentation of both. Both try the loader without and with two worker processes and keep the faster.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from protocol import Job
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from danlu.models.network_table import build_model

WORKERS = (0, 2)


class ArrayImages(Dataset):
    """Images uint8 (N, H, W) or (N, H, W, 3) in memory, returned one by one."""

    def __init__(self, images: np.ndarray, targets: np.ndarray, transform: Callable) -> None:
        self.images, self.targets, self.transform = images, targets.tolist(), transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[number])), self.targets[number]


def make_loader(job: Job, workers: int) -> DataLoader:
    """Build the loader of one round: `warm` untimed batches, then `batches`."""
    count = (job["warm"] + job["batches"]) * job["batch"]
    with np.load(job["data"]) as arrays:
        images, targets = arrays["x"][:count], arrays["y"][:count]
    channels = images.reshape(*images.shape[:3], -1)
    mean, std = channels.mean((0, 1, 2)) / 255, channels.std((0, 1, 2)) / 255
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.RandomCrop(images.shape[1], padding=job["pad"]),
            *([v2.RandomHorizontalFlip()] if job["flip"] else []),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean.tolist(), std.tolist()),
        ]
    )
    dataset = ArrayImages(images, targets, transform)
    return DataLoader(
        dataset, batch_size=job["batch"], shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )


def make_network(job: Job) -> nn.Module:
    """Build the same network as danlu's."""
    torch.manual_seed(0)
    with np.load(job["data"]) as arrays:
        shape = arrays["x"].shape
    return build_model(job["model"], channels=shape[3] if len(shape) == 4 else 1, size=shape[1], classes=job["classes"])


def make_optimizer(job: Job, model: nn.Module) -> torch.optim.Optimizer:
    """Build the optimiser danlu uses by default for this network, with torch's default options."""
    if job["model"] == "lenet":
        return torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)


def settings(optimizer: torch.optim.Optimizer, workers: int) -> str:
    return f"fp32, {type(optimizer).__name__}, {workers} workers"


def faster_workers(rate: Callable[[DataLoader], float], loaders: dict[int, DataLoader]) -> int:
    """Return the number of workers with the higher throughput, the better of two passes each."""
    rates = {workers: max(rate(loader), rate(loader)) for workers, loader in loaders.items()}
    return max(rates, key=rates.__getitem__)

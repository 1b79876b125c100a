"""Upper limit: forward, backward and step on ready tensors in the fastest format, without data, metrics or display.

Uses the same number of distinct batches as a round of danlu: one repeated batch would stay in the CPU cache. The
allocator keeps freed memory as in danlu; otherwise some processes run at two thirds of the speed of others.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from protocol import Answers, Job, serve
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.config import from_dict
from danlu.data.dataset import Dataset
from danlu.engine.device import keep_freed_memory
from danlu.learning.optim import build_optimizer
from danlu.models.network_table import build_model
from danlu.preparation.defaults import choose_training

FORMATS = [("fp32", False), ("fp32", True), ("bf16", True)]  # precision, channels_last
PROBE_BATCHES, PROBE_TURNS = 8, 4


@dataclass
class Trainee:
    """A network with danlu's default optimiser, in one format."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    precision: str
    channels_last: bool

    def train(self, batches: list[tuple[Tensor, Tensor]]) -> float:
        """Train one pass; return its time in seconds."""
        began = time.perf_counter()
        for inputs, targets in batches:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
                loss = F.cross_entropy(self.model(inputs), targets)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
        return time.perf_counter() - began


def limit(job: Job) -> Answers:
    keep_freed_memory()
    inputs, targets = _tensors(job)
    in_format = {False: inputs, True: inputs.contiguous(memory_format=torch.channels_last)}
    batches = {wide: list(zip(x.split(job["batch"]), targets.split(job["batch"]))) for wide, x in in_format.items()}
    trainees = [_trainee(job, inputs, targets, *form) for form in FORMATS]
    best = _fastest(trainees, batches)
    chosen = batches[best.channels_last]
    del batches, in_format
    yield {"settings": _settings(best)}
    while True:
        best.train(chosen[: job["warm"]])  # it was stopped: its memory may have been swapped out of the caches
        yield {"images_per_second": len(targets) / best.train(chosen)}


def _tensors(job: Job) -> tuple[Tensor, Tensor]:
    """Load float images (N, C, H, W) and classes (N,) of one round."""
    count = job["batches"] * job["batch"]
    with np.load(job["data"]) as arrays:
        images, targets = arrays["x"][:count], arrays["y"][:count]
    images = images.reshape(*images.shape[:3], -1).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(images)).float().div(255).sub(0.5), torch.from_numpy(targets)


def _trainee(job: Job, inputs: Tensor, targets: Tensor, precision: str, channels_last: bool) -> Trainee:
    torch.manual_seed(0)
    classes = tuple(map(str, range(job["classes"])))
    model = build_model(job["model"], channels=inputs.shape[1], size=inputs.shape[2], classes=len(classes))
    if channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    dataset = Dataset("", "npz", "classify", inputs[:1].byte(), targets[:1], classes)
    known = {"model": job["model"], "data.size": inputs.shape[2], "data.colour": "rgb", "batch_size": job["batch"]}
    config, _ = choose_training(from_dict(known), dataset, len(targets), torch.device("cpu"))
    return Trainee(model, build_optimizer(model, config.optim), precision, channels_last)


def _fastest(trainees: list[Trainee], batches: dict[bool, list[tuple[Tensor, Tensor]]]) -> Trainee:
    """Select the trainee with the lowest time over a few steps, measured in turns."""
    least = [float("inf")] * len(trainees)
    for turn in range(1 + PROBE_TURNS):  # the first turn is warm-up
        for i, trainee in enumerate(trainees):
            seconds = trainee.train(batches[trainee.channels_last][:PROBE_BATCHES])
            if turn:
                least[i] = min(least[i], seconds)
    return trainees[least.index(min(least))]


def _settings(trainee: Trainee) -> str:
    fused = "fused " if trainee.optimizer.defaults.get("fused") else ""
    layout = "channels_last, " if trainee.channels_last else ""
    return f"{trainee.precision}, {layout}{fused}{type(trainee.optimizer).__name__}"


if __name__ == "__main__":
    serve(limit)

"""Lightning's Trainer on the plain loop's data: logger, progress bar, checkpoints and model summary are off."""

from __future__ import annotations

import logging
import time
import warnings
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from peer_parts import WORKERS, faster_workers, make_loader, make_network, make_optimizer, settings
from protocol import Answers, Job, serve
from torch.nn import functional as F
from torch.utils.data import DataLoader


class Classifier(LightningModule):
    """Lightning's introductory module: a logged loss and an optimiser."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job, self.network = job, make_network(job)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], number: int) -> torch.Tensor:
        inputs, targets = batch
        loss = F.cross_entropy(self.network(inputs), targets)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return make_optimizer(self.job, self.network)


class Stopwatch(Callback):
    """Time the batches after the warm ones."""

    def __init__(self, warm: int) -> None:
        self.warm = warm
        self.began = self.ended = 0.0

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.ended = time.perf_counter()
        if batch_idx + 1 == self.warm:
            self.began = self.ended


def with_lightning(job: Job) -> Answers:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")  # warnings on worker counts: both are tried
    module = Classifier(job)

    def train(loader: DataLoader) -> float:
        stopwatch = Stopwatch(job["warm"])
        trainer = Trainer(
            accelerator="cpu",
            devices=1,
            precision="32-true",
            max_epochs=1,
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            callbacks=[stopwatch],
        )
        trainer.fit(module, loader)
        return job["batches"] * job["batch"] / (stopwatch.ended - stopwatch.began)

    loaders = {workers: make_loader(job, workers) for workers in WORKERS}
    workers = faster_workers(train, loaders)
    loader = loaders[workers]
    del loaders
    yield {"settings": settings(module.configure_optimizers(), workers)}
    while True:
        yield {"images_per_second": train(loader)}


if __name__ == "__main__":
    serve(with_lightning)

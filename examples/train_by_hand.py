"""Train LeNet on the digits of scikit-learn with danlu's parts in a plain loop.

The same training as `danlu train digits --model lenet --epochs 10`: same split, weights, batches, augmentation and
schedule, without the config file, checkpoints, report and doctor. Run `python examples/train_by_hand.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from danlu.config import AugmentConfig, DataConfig, LossConfig, OptimConfig, ScheduleConfig
from danlu.data.augmentation.augment import Augment, Normalise
from danlu.data.augmentation.presets import resolve
from danlu.data.batches import Batches
from danlu.data.formats import open_dataset
from danlu.data.inputs import channel_statistics, image_inputs
from danlu.data.split import split_dataset
from danlu.learning.losses import build_loss
from danlu.learning.optim import build_optimizer
from danlu.learning.schedules import build_schedule
from danlu.metrics.classification import classification_metrics
from danlu.models.build import build_model

SIZE, BATCH_SIZE, SEED = 8, 32, 0


@torch.no_grad()
def evaluate(model: nn.Module, batches: Batches) -> dict[str, float]:
    """Return accuracy, top-5 accuracy, macro F1 and calibration error over one pass of `batches`."""
    model.eval()
    outputs, targets = zip(*((model(batch.inputs), batch.targets) for batch in batches.epoch()))
    model.train()
    return classification_metrics(torch.cat(outputs).softmax(1), torch.cat(targets))


def train(epochs: int = 10) -> Iterator[dict[str, float]]:
    """Train for `epochs` epochs; yield the training loss and the validation accuracy after each."""
    config = DataConfig(path="digits", colour="grey", size=SIZE)
    dataset = open_dataset(config, "classify")
    targets = torch.as_tensor(dataset.targets)
    split = split_dataset(dataset, config, SEED)
    images = image_inputs(dataset, size=SIZE, colour="grey")
    mean, std = channel_statistics(images.some(split.train.tolist()))
    classes = len(dataset.classes)

    shape = {"size": SIZE, "mean": mean, "std": std}
    augmentation = resolve(AugmentConfig(rotate=10, scale=0.1, shear=10), size=SIZE, channels=1, classes=classes)
    augment = Augment(augmentation, channels=1, classes=classes, **shape)
    batches = Batches(images.source, targets, split.train, batch_size=BATCH_SIZE, transform=augment, seed=SEED)
    validation = Batches(images.source, targets, split.val, batch_size=256, transform=Normalise(**shape))

    torch.manual_seed(SEED)
    model = build_model("lenet", channels=1, size=SIZE, classes=classes).to(memory_format=torch.channels_last)
    loss_fn = build_loss(LossConfig(name="cross-entropy"))
    optimizer = build_optimizer(model, OptimConfig(name="adamw", lr=3e-3, weight_decay=0.01))
    schedule = build_schedule(ScheduleConfig(name="one-cycle"), epochs, batches.batches_per_epoch)
    peak_lrs = [group["lr"] for group in optimizer.param_groups]

    step = 0
    for epoch in range(epochs):
        total = 0.0
        for batch in batches.epoch(epoch):
            for group, lr in zip(optimizer.param_groups, peak_lrs):
                group["lr"] = lr * schedule(step)
            loss = loss_fn(model(batch.inputs), batch.targets).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch.targets)
            step += 1
        yield {"train.loss": total / batches.samples, "val.accuracy": evaluate(model, validation)["accuracy"]}


if __name__ == "__main__":
    for number, row in enumerate(train(), 1):
        print(f"epoch {number}  train loss {row['train.loss']:.4f}  validation accuracy {row['val.accuracy']:.4f}")

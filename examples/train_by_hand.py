"""Train LeNet on the digits of scikit-learn with danlu's parts in a plain loop: `python examples/train_by_hand.py`.

The same split, weights, batches, augmentation and schedule as `danlu train digits --model lenet --epochs 10`.
"""

from collections.abc import Iterator

import torch

from danlu.config import AugmentConfig, DataConfig, LossConfig, OptimConfig, ScheduleConfig
from danlu.data.augmentation.augment import Augment, Normalise
from danlu.data.augmentation.presets import resolve
from danlu.data.batches import Batches
from danlu.data.formats import open_dataset
from danlu.data.inputs import image_inputs
from danlu.data.split import split_dataset
from danlu.learning.losses import build_loss
from danlu.learning.optim import build_optimizer
from danlu.learning.schedules import build_schedule
from danlu.metrics.classification import classification_metrics
from danlu.models.network_table import build_model


def train(epochs: int = 10) -> Iterator[dict[str, float]]:
    """Train for `epochs` epochs; yield the training loss and the validation accuracy after each."""
    config = DataConfig(path="digits", colour="grey", size=8)
    dataset = open_dataset(config, "classify")
    split = split_dataset(dataset, config, seed=0)
    images, targets = image_inputs(dataset, size=8, colour="grey"), torch.as_tensor(dataset.targets)
    mean, std = images.statistics(split.train.tolist())
    augmentation = resolve(AugmentConfig(rotate=10, scale=0.1, shear=10), size=8, channels=1, classes=10)
    augment = Augment(augmentation, channels=1, classes=10, size=8, mean=mean, std=std)
    batches = Batches(images.source, targets, split.train, batch_size=32, transform=augment, seed=0)
    val = Batches(images.source, targets, split.val, batch_size=256, transform=Normalise(size=8, mean=mean, std=std))

    torch.manual_seed(0)
    model = build_model("lenet", channels=1, size=8, classes=10).to(memory_format=torch.channels_last)
    loss_fn = build_loss(LossConfig(name="cross-entropy"))
    optimizer = build_optimizer(model, OptimConfig(name="adamw", lr=3e-3, weight_decay=0.01))
    one_cycle = build_schedule(ScheduleConfig(name="one-cycle"), epochs, batches.batches_per_epoch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, one_cycle)

    for epoch in range(epochs):
        total = 0.0
        for batch in batches.epoch(epoch):
            loss = loss_fn(model.train()(batch.inputs), batch.targets).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch.targets)
        with torch.no_grad():
            outputs, labels = zip(*((model.eval()(batch.inputs), batch.targets) for batch in val.epoch()))
        metrics = classification_metrics(torch.cat(outputs).softmax(1), torch.cat(labels))
        yield {"train.loss": total / batches.samples, "val.accuracy": metrics["accuracy"]}


if __name__ == "__main__":
    for number, row in enumerate(train(), 1):
        print(f"epoch {number}  train loss {row['train.loss']:.4f}  validation accuracy {row['val.accuracy']:.4f}")

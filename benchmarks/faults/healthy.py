"""Healthy runs: harmless variations of every set-up, and unusual runs that look suspicious but are correct.

Fixed thresholds tend to fire on the unusual ones: tiny batches, sigmoid networks, high dropout, long plateaus, strong
decay, a single layer, weighted classes, frozen backbones, LBFGS, large input scales that the network normalises.
"""

# ruff: noqa: E501 - tables of cases, one per line
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import data as sets
import torch
from data import Data
from faults_data import imbalance
from loop import AccumulatingLoop, ClippingLoop, LBFGSLoop, Loop, Optim, Setup
from networks import lenet, mlp, transformer, vgg
from planting import on_data, on_model, on_optim, random_rows
from sequences import NextItemLoss, NextItems, decoder, rows_of_images, walks
from setups import constant, momentum, setup, sigmoid, tanh, warm_up
from torch import Tensor, nn


def smaller_rate(setup: Setup) -> Setup:
    return on_optim(setup, 0.7)


def smaller_batches(setup: Setup) -> Setup:
    return on_optim(setup.but(batch_size=max(8, setup.batch_size // 2)), 0.6)


def larger_batches(setup: Setup) -> Setup:
    return on_optim(setup.but(batch_size=setup.batch_size * 2, epochs=setup.epochs + 4), 1.3)


def with_warm_up(setup: Setup) -> Setup:
    return setup.but(schedule=warm_up, schedule_per="batch")


def accumulating(setup: Setup) -> Setup:
    return setup.but(batch_size=max(4, setup.batch_size // 4), loop=AccumulatingLoop)


def clipping(setup: Setup) -> Setup:
    return setup.but(loop=ClippingLoop)


def some_decay(setup: Setup) -> Setup:
    return on_optim(setup, weight_decay={"sgd": 1e-4, "adamw": 1e-2, "adam": 1e-5}[setup.optim.kind])


def as_it_is(setup: Setup) -> Setup:
    return setup


VARIATIONS: dict[str, Callable[[Setup], Setup]] = {
    change.__name__.replace("_", " "): change
    for change in (
        as_it_is,
        smaller_rate,
        smaller_batches,
        larger_batches,
        with_warm_up,
        accumulating,
        clipping,
        some_decay,
    )
}


def balanced(setup: Setup, rare: float = 0.1) -> Setup:
    """Make one class rare in both splits and weight its loss accordingly."""
    return imbalance(setup, rare).but(loss=lambda: nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1 / rare])))


class FrozenBackbone(Loop):
    """Freeze the first layers on purpose: requires_grad False, not in the optimiser."""

    def make_optimizer(self) -> torch.optim.Optimizer:
        layers = list(self.model.children())
        for layer in layers[: len(layers) // 3]:
            layer.requires_grad_(False)
        return self.setup.optim.build(p for p in self.model.parameters() if p.requires_grad)


class TwoRates(Loop):
    """Use parameter groups: five times the lr for the last layer, no decay for biases."""

    def make_optimizer(self) -> torch.optim.Optimizer:
        *body, head = self.model.children()
        optim = self.setup.optim
        groups = [
            {"params": [p for layer in body for p in layer.parameters()]},
            {"params": list(head.parameters()), "lr": optim.lr * 5, "weight_decay": 0.0},
        ]
        return optim.but(weight_decay=1e-4).build(groups)


class NoneIsZero(Loop):
    """Call zero_grad after the step instead of before the forward pass."""

    def train_step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self.model(x)
        loss = self.loss_fn(outputs, y)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss, outputs


def gentle(x: Tensor) -> Tensor:
    """Shift by up to one pixel and add a little noise; labels stay valid."""
    down, right = (int(torch.randint(-1, 2, ())) for _ in range(2))
    return torch.roll(x, (down, right), (2, 3)) + 0.05 * torch.randn_like(x)


def normalised_inside(setup: Setup) -> Setup:
    """Use raw images (0 to 255) with batch normalisation as the first layer."""
    raw = on_data(setup, lambda data, g: replace(data, x=data.x * 60 + 100, x_val=data.x_val * 60 + 100))
    return on_model(raw, lambda model: nn.Sequential(nn.BatchNorm2d(1, affine=False), *model.children()))


def zero_to_one(setup: Setup) -> Setup:
    """Scale images to [0, 1], the most common scaling."""

    def edit(data: Data, g: torch.Generator) -> Data:
        low, high = data.x.min(), data.x.max()
        return replace(data, x=(data.x - low) / (high - low), x_val=(data.x_val - low) / (high - low))

    return on_data(setup, edit)


def softmax_then_nll(setup: Setup) -> Setup:
    """Use log-softmax in the model and NLLLoss, equivalent to cross entropy."""
    return on_model(setup, lambda model: nn.Sequential(*model.children(), nn.LogSoftmax(dim=1))).but(loss=nn.NLLLoss)


def sigmoid_then_bce(setup: Setup) -> Setup:
    return on_model(setup, lambda model: nn.Sequential(*model.children(), nn.Sigmoid())).but(
        loss=nn.BCELoss, loop=Probabilities
    )


class Probabilities(Loop):
    """Loop whose outputs are probabilities: the threshold is 0.5."""

    def positive(self, outputs: Tensor) -> Tensor:
        return outputs > 0.5


def smoothed(setup: Setup) -> Setup:
    return setup.but(loss=lambda: nn.CrossEntropyLoss(label_smoothing=0.1))


def squashed_output(setup: Setup) -> Setup:
    """Scale targets to [0, 1] with a sigmoid on the output."""

    def edit(data: Data, g: torch.Generator) -> Data:
        low, high = data.y.min() - 0.3, data.y.max() + 0.3
        return replace(data, y=(data.y - low) / (high - low), y_val=(data.y_val - low) / (high - low))

    return on_model(on_data(setup, edit), lambda model: nn.Sequential(*model.children(), nn.Sigmoid()))


def soft_targets(setup: Setup) -> Setup:
    """Use class probabilities as targets: 0.8 for the label, the rest spread evenly."""

    def edit(data: Data, g: torch.Generator) -> Data:
        spread = lambda y: 0.8 * one_hot_rows(y, data.outputs) + 0.2 / data.outputs  # noqa: E731
        return replace(data, y=spread(data.y), y_val=spread(data.y_val))

    return on_data(setup, edit)


def one_hot_rows(y: Tensor, classes: int) -> Tensor:
    return nn.functional.one_hot(y, classes).float()


def some_ignored(setup: Setup, label: int = 255) -> Setup:
    """Leave a tenth of the training labels out of the loss by ignore_index."""

    def edit(data: Data, g: torch.Generator) -> Data:
        y = data.y.clone()
        y[random_rows(len(y), 0.1, g)] = label
        return replace(data, y=y)

    return on_data(setup, edit).but(loss=lambda: nn.CrossEntropyLoss(ignore_index=label))


def summed(setup: Setup) -> Setup:
    """Sum the loss over the batch, with an lr that is smaller by the batch size."""
    return on_optim(setup.but(loss=lambda: nn.CrossEntropyLoss(reduction="sum")), 1 / setup.batch_size)


def weighed(setup: Setup) -> Setup:
    return setup.but(loss=lambda: nn.CrossEntropyLoss(weight=torch.tensor([2.0] + [1.0] * 9)))


def coloured(setup: Setup) -> Setup:
    """Tint grey images to three channels."""
    tint = lambda x: torch.cat([x, 0.6 * x + 0.4, 0.2 - 0.8 * x], 1)  # noqa: E731
    return on_data(setup, lambda data, g: replace(data, x=tint(data.x), x_val=tint(data.x_val)))


class Noisy(nn.Module):
    """Add noise to the features in both modes, as the sampling of a variational model does."""

    def __init__(self, model: nn.Sequential) -> None:
        super().__init__()
        self.features, self.head = model[:-1], model[-1]

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.head(x + 0.1 * torch.randn_like(x))


def halves(name: str, tuned: Setup, untuned: Setup) -> dict[str, Setup]:
    return {f"{name} (tuned)": tuned.but(half="tuned"), f"{name} (untuned)": untuned.but(half="untuned")}


# Shorthand for the unusual runs; `halves` sets the half.
build = partial(setup, "tuned")
DIGITS = build(sets.digits, "mlp2", mlp(192), momentum(0.03), 0.93, "classes mlp relu images", batch_size=32)
BLOBS = build(sets.blobs, "mlp3", mlp(64, 64), Optim("adam", 1e-3), 0.92, "classes mlp relu table", batch_size=32)
MOONS = build(sets.moons, "mlp2", mlp(64), Optim("adam", 1e-2), 0.95, "binary mlp relu plane", batch_size=32)
CIRCLES = build(sets.circles, "mlp2", mlp(64), Optim("adam", 1e-2), 0.95, "binary mlp relu plane", batch_size=32)
FRIEDMAN = build(
    sets.friedman, "mlp2", mlp(128), Optim("adam", 3e-3), 0.85, "numbers mlp relu table", batch_size=32, epochs=15
)
FRIEDMAN2 = build(
    sets.friedman2, "mlp2", mlp(128), Optim("adam", 3e-3), 0.85, "numbers mlp relu table", batch_size=32, epochs=15
)
LENET = build(
    sets.digits, "lenet", lenet(8, 16, 64), Optim("adam", 2e-3), 0.92, "classes conv relu images", batch_size=32
)
VGG = build(sets.digits, "vgg", vgg(16, 24), Optim("adam", 3e-3), 0.93, "classes conv bn relu images", batch_size=32)
CANCER = build(sets.cancer, "linear", mlp(), momentum(0.05), 0.93, "binary mlp table", batch_size=16)
DIABETES = build(sets.diabetes, "linear", mlp(), Optim("sgd", 0.01), 0.3, "numbers mlp table", batch_size=32)

NEXT = build(
    walks, "decoder", decoder(), Optim("adam", 3e-3), 0.4, "classes transformer", batch_size=32, epochs=10
).but(loss=NextItemLoss, loop=NextItems)

ODD: dict[str, Setup] = {
    **halves("one layer", DIGITS.but(model=mlp(), floor=0.92), CANCER),
    **halves("linear regression", DIABETES, DIABETES.but(data=sets.california, floor=0.55)),
    **halves("tiny batches", on_optim(DIGITS.but(batch_size=2, epochs=6), 0.05, momentum=0.9), BLOBS.but(batch_size=1, epochs=5, optim=Optim("sgd", 2e-3))),
    **halves("batch norm of eight", VGG.but(batch_size=8, epochs=8), VGG.but(data=sets.mnist, batch_size=8, epochs=6, floor=0.85)),
    **halves("large batches", DIGITS.but(batch_size=512, epochs=60, optim=momentum(0.2)), BLOBS.but(batch_size=1024, epochs=80, optim=Optim("adam", 5e-3), floor=0.8)),
    **halves("full batches with LBFGS", FRIEDMAN.but(loop=LBFGSLoop, optim=Optim("lbfgs", 0.5), batch_size=10**6, epochs=12, schedule=constant), FRIEDMAN2.but(loop=LBFGSLoop, optim=Optim("lbfgs", 0.5), batch_size=10**6, epochs=25, schedule=constant)),
    **halves("four sigmoid layers", DIGITS.but(model=sigmoid(96, 96, 64), optim=Optim("adam", 5e-3), epochs=15), BLOBS.but(model=sigmoid(64, 64, 64), optim=Optim("adam", 5e-3), floor=0.8)),
    **halves("six tanh layers", DIGITS.but(model=tanh(*[64] * 5), optim=Optim("adam", 1e-3)), BLOBS.but(model=tanh(*[64] * 5), optim=Optim("adam", 1e-3))),
    **halves("high dropout that helps", DIGITS.but(model=mlp(512, dropout=0.5), epochs=15), DIGITS.but(model=mlp(384, 192, dropout=0.5), optim=Optim("adamw", 1e-3), epochs=20)),
    **halves("strong decay that helps", DIGITS.but(optim=Optim("sgd", 0.03, {"momentum": 0.9, "weight_decay": 1e-2})), BLOBS.but(optim=Optim("adamw", 2e-3, {"weight_decay": 0.3}))),
    **halves("long plateau that ends", CIRCLES.but(model=tanh(48, 48), optim=Optim("sgd", 0.1), epochs=30), MOONS.but(model=sigmoid(32, 32), optim=momentum(0.5), epochs=110)),
    **halves("rare class weighted up", balanced(MOONS.but(epochs=20, floor=0.93)), balanced(CIRCLES.but(epochs=20, floor=0.93))),
    **halves("frozen backbone", LENET.but(loop=FrozenBackbone, floor=0.9), DIGITS.but(model=mlp(512, 64), loop=FrozenBackbone)),
    **halves("parameter groups", LENET.but(loop=TwoRates, optim=Optim("adamw", 1e-3)), DIGITS.but(loop=TwoRates, optim=momentum(0.01))),
    **halves("accumulation over four", LENET.but(loop=AccumulatingLoop, batch_size=8), DIGITS.but(loop=AccumulatingLoop, batch_size=8)),
    **halves("zero_grad after the step", BLOBS.but(loop=NoneIsZero), LENET.but(data=sets.mnist, loop=NoneIsZero, floor=0.88)),
    **halves("gentle augmentation", LENET.but(augment=gentle, epochs=20, floor=0.9), VGG.but(data=sets.mnist, augment=gentle, floor=0.85, epochs=10)),
    **halves("raw images normalised inside", normalised_inside(LENET), normalised_inside(DIGITS)),
    **halves("images from 0 to 1", zero_to_one(LENET.but(epochs=15)), zero_to_one(DIGITS.but(optim=momentum(0.1), epochs=15))),
    **halves("log-softmax and NLL", softmax_then_nll(LENET), softmax_then_nll(DIGITS)),
    **halves("sigmoid and BCE", sigmoid_then_bce(MOONS), sigmoid_then_bce(CIRCLES)),
    **halves("sigmoid on bounded targets", squashed_output(FRIEDMAN.but(optim=Optim("adam", 1e-2))), squashed_output(FRIEDMAN2.but(optim=Optim("adam", 1e-2)))),
    **halves("label smoothing", smoothed(LENET), smoothed(DIGITS)),
    **halves("soft targets", soft_targets(LENET), soft_targets(DIGITS)),
    **halves("ignored labels", some_ignored(LENET), some_ignored(DIGITS)),
    **halves("summed loss", summed(DIGITS), summed(DIGITS.but(model=mlp(128, 64), optim=momentum(0.02)))),
    **halves("weighted classes", weighed(LENET), weighed(DIGITS)),
    **halves("noise in both modes", on_model(LENET, Noisy), on_model(DIGITS, Noisy)),
    **halves("coloured images", coloured(LENET), coloured(VGG)),
    **halves("recurrence over rows", LENET.but(model=rows_of_images(), optim=Optim("adam", 5e-3), epochs=20, floor=0.88), DIGITS.but(model=rows_of_images(), optim=Optim("adam", 3e-3), epochs=25, floor=0.88)),
    **halves("next items", NEXT, NEXT.but(optim=Optim("adamw", 5e-3))),
    **halves("absolute error", FRIEDMAN.but(loss=nn.L1Loss), FRIEDMAN2.but(loss=nn.SmoothL1Loss)),
    **halves("high rate that is right", BLOBS.but(model=mlp(), optim=Optim("sgd", 0.5)), DIGITS.but(model=mlp(), optim=Optim("sgd", 0.3), floor=0.92)),
    **halves("constant rate", DIGITS.but(schedule=constant, optim=momentum(0.005), epochs=20), LENET.but(schedule=constant, optim=Optim("adam", 5e-4), epochs=25)),
    **halves("warm-up", build(sets.digits, "transformer", transformer(32, 1, norm_first=False), Optim("adam", 3e-3), 0.88, "classes transformer images", batch_size=32, schedule=warm_up, schedule_per="batch"),
             build(sets.mnist, "transformer", transformer(32, 1, norm_first=False), Optim("adam", 3e-3), 0.8, "classes transformer images", batch_size=32, epochs=10, schedule=warm_up, schedule_per="batch")),
    **halves("high momentum with a small rate", DIGITS.but(optim=Optim("sgd", 0.002, {"momentum": 0.98, "nesterov": True})), LENET.but(optim=Optim("sgd", 0.003, {"momentum": 0.97}), epochs=15)),
    **halves("wide and shallow", DIGITS.but(model=mlp(1024), epochs=8), BLOBS.but(model=mlp(768), epochs=8)),
    **halves("small set, few epochs", build(sets.wine, "mlp2", mlp(32), Optim("adam", 5e-3), 0.9, "classes mlp relu table", batch_size=16, epochs=20), build(sets.cancer, "mlp2", mlp(32), Optim("adam", 2e-3), 0.93, "binary mlp relu table", batch_size=16, epochs=12)),
}  # fmt: skip

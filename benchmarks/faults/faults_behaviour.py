"""Faults of behaviour: weights that are not registered, mixed samples, answers among the inputs, noise in evaluation."""

# ruff: noqa: E501 - tables of cases, one per line
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from data import Data
from loop import Loop, Optim, Setup
from planting import Fault, on_data, on_loop, on_model
from sequences import NextItemLoss, NextItems, decoder, rows_of_images, walks
from torch import Tensor, nn


class LayersInList(nn.Module):
    """Keep all layers but the last in a Python list, which hides their parameters."""

    def __init__(self, model: nn.Sequential) -> None:
        super().__init__()
        self.layers, self.head = list(model.children())[:-1], list(model.children())[-1]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class CreatedInForward(nn.Module):
    """Create a layer at each call, before the last layer."""

    def __init__(self, model: nn.Sequential) -> None:
        super().__init__()
        self.features, self.head = model[:-1], model[-1]

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.head(torch.relu(nn.Linear(x.shape[1], x.shape[1])(x)))


class AcrossSamples(nn.Module):
    """Transpose a batch before the reshape, so that each row holds values of several samples."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x.flatten(1).t().reshape(x.shape))


class FunctionalDropout(nn.Module):
    """Call F.dropout without training=self.training."""

    def __init__(self, model: nn.Module, p: float) -> None:
        super().__init__()
        self.model, self.p = model, p

    def forward(self, x: Tensor) -> Tensor:
        return self.model(F.dropout(x, self.p))


class ArgmaxOfOne(Loop):
    """Compute the accuracy of a single output by argmax, which is always 0."""

    def positive(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(1, keepdim=True) > 0


def with_model(model: Callable[[Data], nn.Module]) -> Callable[[Setup, None], Setup]:
    return lambda setup, _: setup.but(model=model, optim=Optim("adam", 3e-3))


def log_softmax(dim: int, before: type[nn.Module] = nn.Identity) -> Callable[[Setup, None], Setup]:
    """End with log-softmax over `dim`, for NLLLoss."""

    def plant(setup: Setup, _: None) -> Setup:
        end = lambda model: nn.Sequential(model, before(), nn.LogSoftmax(dim))  # noqa: E731
        return on_model(setup, end).but(loss=nn.NLLLoss)

    return plant


class HandWritten(nn.Module):
    """Cross entropy written by hand, with the softmax over `dim`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, outputs: Tensor, y: Tensor) -> Tensor:
        chances = torch.softmax(outputs, self.dim)
        return -(torch.log(chances + 1e-9) * F.one_hot(y, outputs.shape[1])).sum(1).mean()


class OfAllLabels(nn.Module):
    """Cross entropy written by hand that indexes the columns only: the outputs of all labels of the batch."""

    def forward(self, outputs: Tensor, y: Tensor) -> Tensor:
        return -F.log_softmax(outputs, 1)[:, y].mean()


class Exponentials(nn.Module):
    """A softmax written by hand."""

    def forward(self, scores: Tensor) -> Tensor:
        powers = torch.exp(scores - scores.max(1, keepdim=True).values)
        return powers / powers.sum(1, keepdim=True)


def softmax_of_one(setup: Setup, _: None) -> Setup:
    return on_model(setup, lambda model: nn.Sequential(model, nn.Softmax(1))).but(loss=nn.BCELoss)


def in_dollars(setup: Setup, scale: float) -> Setup:
    """Scale the targets of a regression to prices."""

    def edit(data: Data, g: torch.Generator) -> Data:
        return replace(data, y=(data.y + 3) * scale, y_val=(data.y_val + 3) * scale)

    return on_data(setup, edit)


def reshaped(setup: Setup, _: None) -> Setup:
    """Colour images with the channels last, reshaped to channels first."""

    def tinted(x: Tensor) -> Tensor:
        colours = torch.cat([x, 0.6 * x + 0.4, 0.2 - 0.8 * x], 1)
        return colours.permute(0, 2, 3, 1).reshape(colours.shape)

    return on_data(setup, lambda data, g: replace(data, x=tinted(data.x), x_val=tinted(data.x_val)))


def without_mask(setup: Setup, _: None) -> Setup:
    """Predict the next item of random walks with attention to all items."""
    return setup.but(
        data=walks, model=decoder(causal=False), loss=NextItemLoss, loop=NextItems, optim=Optim("adam", 3e-3),
        batch_size=32, epochs=5,
    )  # fmt: skip


BEHAVIOUR_FAULTS = [
    Fault("layers in a list", "model.unregistered", lambda setup, _: on_model(setup, LayersInList), needs="mlp|conv", avoid="residual", proof="code"),
    Fault("layer created in forward", "model.unregistered", lambda setup, _: on_model(setup, CreatedInForward), needs="mlp", avoid="deep", proof="code"),
    Fault("log-softmax over the batch", "model.output_mismatch", log_softmax(0), needs="classes", also=("model.mixes_samples",), proof="code"),
    Fault("softmax over the batch in a loss by hand", "model.output_mismatch", lambda setup, _: setup.but(loss=lambda: HandWritten(0)), needs="classes", proof="code"),
    Fault("outputs of all labels", "model.output_mismatch", lambda setup, _: setup.but(loss=OfAllLabels), needs="classes", proof="code"),
    Fault("softmax by hand", "model.output_mismatch", lambda setup, _: on_model(setup, lambda model: nn.Sequential(model, Exponentials())), needs="classes", proof="code"),
    Fault("ReLU before log-softmax", "model.output_mismatch", log_softmax(1, nn.ReLU), needs="classes", proof="code"),
    Fault("softmax of one output", "model.output_mismatch", softmax_of_one, needs="binary", also=("loop.no_update",), proof="code"),
    Fault("recurrence over the samples", "model.mixes_samples", with_model(rows_of_images(batch_first=False)), needs="images classes", proof="code"),
    Fault("reshape across samples", "model.mixes_samples", lambda setup, _: on_model(setup, AcrossSamples), needs="mlp images", proof="code"),
    Fault("first time step only", "model.inputs_unused", with_model(rows_of_images(step=0)), needs="images classes", proof="code"),
    Fault("functional dropout", "model.random_in_eval", lambda setup, p: on_model(setup, lambda model: FunctionalDropout(model, p)), {"0.5": 0.5, "0.3": 0.3}, "classes mlp|conv", proof="code"),
    Fault("no causal mask", "model.sees_future", without_mask, needs="classes mlp", proof="code"),
    Fault("reshape for permute", "data.axes_scrambled", reshaped, needs="conv images", avoid="residual", proof="code"),
    Fault("targets in dollars", "data.targets_not_scaled", in_dollars, {"1e5": 1e5, "1e4": 1e4}, "numbers", proof="code"),
    Fault("argmax of one output", "loop.metric_wrong", lambda setup, _: on_loop(setup, ArgmaxOfOne), needs="binary", proof="code"),
]  # fmt: skip

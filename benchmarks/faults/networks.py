"""Networks of the benchmark, small enough to train in a second: MLP, LeNet, VGG, ResNet, transformer, recurrent."""

from __future__ import annotations

from collections.abc import Callable

import torch
from data import Data
from torch import Tensor, nn

Activation = Callable[[], nn.Module]
Build = Callable[[Data], nn.Module]


def mlp(*hidden: int, activation: Activation = nn.ReLU, dropout: float = 0.0, init: str = "") -> Build:
    """Linear layers with an activation after each but the last; init "he", "xavier" or torch's default."""

    def build(data: Data) -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        width = data.x[0].numel()
        for size in hidden:
            layers += [nn.Linear(width, size), activation()]
            if dropout:
                layers.append(nn.Dropout(dropout))
            width = size
        model = nn.Sequential(*layers, nn.Linear(width, data.outputs))
        initialise(model, init)
        return model

    return build


def initialise(model: nn.Module, init: str) -> None:
    for layer in model.modules():
        if isinstance(layer, nn.Linear) and init:
            if init == "he":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)


def lenet(first: int = 6, second: int = 16, hidden: int = 64, activation: Activation = nn.ReLU) -> Build:
    """Two convolutions with pooling, two linear layers; images of 8 to 32 pixels."""

    def build(data: Data) -> nn.Module:
        channels, side = data.x.shape[1], data.x.shape[2] // 4
        return nn.Sequential(
            nn.Conv2d(channels, first, 3, padding=1), activation(), nn.MaxPool2d(2),
            nn.Conv2d(first, second, 3, padding=1), activation(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(second * side**2, hidden), activation(), nn.Linear(hidden, data.outputs),
        )  # fmt: skip

    return build


def vgg(*widths: int, norm: bool = True) -> Build:
    """A stage per width: convolution 3 x 3, batch normalisation, ReLU, pooling; then a mean and a linear layer."""

    def build(data: Data) -> nn.Module:
        layers: list[nn.Module] = []
        channels = data.x.shape[1]
        for width in widths:
            layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=not norm))
            if norm:
                layers.append(nn.BatchNorm2d(width))
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
            channels = width
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, data.outputs))

    return build


class Residual(nn.Module):
    """Two convolutions with batch normalisation and a skip connection."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip
        self.past = nn.Identity() if channels == width and stride == 1 else nn.Conv2d(channels, width, 1, stride)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.body(x) + self.past(x))


def resnet(*widths: int) -> Build:
    """A stem and one residual block per width, each but the first halving the resolution."""

    def build(data: Data) -> nn.Module:
        stem = nn.Conv2d(data.x.shape[1], widths[0], 3, padding=1, bias=False)
        blocks = [Residual(a, b, 1 if i == 0 else 2) for i, (a, b) in enumerate(zip((widths[0], *widths), widths))]
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], data.outputs))
        return nn.Sequential(stem, nn.BatchNorm2d(widths[0]), nn.ReLU(), *blocks, *head)

    return build


class Transformer(nn.Module):
    """A small vision transformer: rows of the image as tokens, learned position embeddings, mean of the tokens."""

    def __init__(self, data: Data, width: int, depth: int, norm_first: bool) -> None:
        super().__init__()
        tokens, size = data.x.shape[2], data.x.shape[1] * data.x.shape[3]
        self.embed = nn.Linear(size, width)
        self.places = nn.Parameter(torch.randn(tokens, width) * 0.02)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=norm_first)
            for _ in range(depth)
        )
        self.head = nn.Linear(width, data.outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.transpose(1, 2).flatten(2)) + self.places
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(1))


def transformer(width: int = 32, depth: int = 2, norm_first: bool = True) -> Build:
    return lambda data: Transformer(data, width, depth, norm_first)


class Recurrent(nn.Module):
    """A ReLU recurrence over the pixels in reading order, `chunk` at a time."""

    def __init__(self, data: Data, width: int, chunk: int, scale: float) -> None:
        super().__init__()
        self.chunk = chunk
        self.into = nn.Linear(chunk, width)
        self.again = nn.Linear(width, width)
        self.head = nn.Linear(width, data.outputs)
        nn.init.orthogonal_(self.again.weight, gain=scale)

    def forward(self, x: Tensor) -> Tensor:
        pieces = x.flatten(1).split(self.chunk, dim=1)
        state = torch.zeros(len(x), self.again.in_features)
        for piece in pieces:
            state = torch.relu(self.into(piece) + self.again(state))
        return self.head(state)


def recurrent(width: int = 32, chunk: int = 8, scale: float = 1.0) -> Build:
    return lambda data: Recurrent(data, width, chunk, scale)

"""Encoder and decoder layers of DETR, and positions of map cells as sines (Carion et al. 2020, appendix A.3).

Post-norm layers as published: positions are added to queries and keys of every attention, not to values.
N images, T cells of the map, Q queries.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.message import message
from danlu.refuse import refusal

WIDTH_STEP = 8  # a width is a multiple of it
TEMPERATURE = 10_000  # ratio of the longest to the shortest wavelength of the sines


def sines(values: Tensor, count: int) -> Tensor:
    """`count` numbers per value in [0, 1]: sine and cosine at falling frequencies. (...) -> (..., count)."""
    frequency = TEMPERATURE ** -(torch.arange(0, count, 2, device=values.device, dtype=torch.float32) / count)
    angle = values.float()[..., None] * (2 * math.pi) * frequency
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)


def cell_positions(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Positions (height * width, channels) of the cells of a map, row by row: half of the channels for y, half for x.

    Cell i of n has the value (i + 1) / n, as in the paper's code.
    """
    y, x = (torch.arange(1, n + 1, device=device) / n for n in (height, width))
    rows, columns = sines(y, channels // 2), sines(x, channels // 2)
    grid = torch.cat(
        [rows[:, None].expand(height, width, -1), columns[None].expand(height, width, -1)], -1
    )  # both of (height, width, channels // 2)
    return grid.flatten(0, 1)


def check_width(width: int, name: str) -> None:
    """Raise Refusal unless a detector's width can be divided into heads, and into sines and cosines of positions."""
    if width % WIDTH_STEP:
        wanted = message(
            "detection.wanted.multiple", "a multiple of {multiple} for {name}", multiple=WIDTH_STEP, name=name
        )
        raise refusal("detect.width", wanted, width)


class Bias(NamedTuple):
    """A term of the attention logits that is the product queries @ keys^T: (N, heads, Q, D) and (T, D), float32.

    The matrix (N, heads, Q, T) is never in memory.
    """

    queries: Tensor
    keys: Tensor

    def added(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor, float]:
        """Queries and keys (N, heads, ..., d) with D more columns, and the scale of their product."""
        scale = queries.shape[-1] ** -0.5
        more = self.keys.expand(*keys.shape[:2], -1, -1)
        return torch.cat([queries, self.queries / scale], -1), torch.cat([keys, more], -1), scale


class Attended(NamedTuple):
    """Inputs of a decoder layer, see `DecoderLayer.forward`, and height and width of the map."""

    x: Tensor
    places: Tensor
    memory: Tensor
    positions: Tensor
    bias: Bias | None
    size: tuple[int, int]


class Attention(nn.Module):
    """Multi-head attention with separate inputs for queries, keys and values; one matrix for the three projections."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.inputs = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.inputs.bias)
        nn.init.zeros_(self.out.bias)

    def projected(self, queries: Tensor, keys: Tensor, values: Tensor) -> list[Tensor]:
        """Queries, keys and values of each head, (N, heads, ..., width / heads)."""
        weights, biases = self.inputs.weight.chunk(3), self.inputs.bias.chunk(3)
        parts = (F.linear(x, w, b) for x, w, b in zip((queries, keys, values), weights, biases))
        return [x.unflatten(2, (self.heads, -1)).transpose(1, 2) for x in parts]

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Bias | None = None) -> Tensor:
        """(N, Q, width), (N, T, width) twice -> (N, Q, width). bias: see `Bias`."""
        q, k, v = self.projected(queries, keys, values)
        drop = self.dropout if self.training else 0.0
        if bias is None:
            x = F.scaled_dot_product_attention(q, k, v, dropout_p=drop)
        else:
            with torch.autocast(q.device.type, enabled=False):  # differences of large terms
                q, k, scale = bias.added(q.float(), k.float())
                v = F.pad(v.float(), (0, bias.queries.shape[-1]))  # fast kernels need one size for keys and values
                x = F.scaled_dot_product_attention(q, k, v, dropout_p=drop, scale=scale)
                x = x[..., : -bias.queries.shape[-1]]
        return self.out(x.transpose(1, 2).flatten(2))

    @torch.no_grad()
    def weights(self, queries: Tensor, keys: Tensor, bias: Bias | None = None) -> Tensor:
        """Attention of each query to each cell, mean over the heads: (N, Q, T), rows sum to 1."""
        q, k, _ = self.projected(queries, keys, keys)
        q, k, scale = (q, k, q.shape[3] ** -0.5) if bias is None else bias.added(q.float(), k.float())
        return (q @ k.transpose(2, 3) * scale).float().softmax(3).mean(1)


class FeedForward(nn.Sequential):
    """Two dense layers with a ReLU between: (..., width) -> (..., width)."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, width))


class EncoderLayer(nn.Module):
    """Self-attention between the cells of a map, then a feed-forward network: (N, T, width) -> (N, T, width)."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout)
        self.mlp = FeedForward(width, hidden, dropout)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Return cells (N, T, width) after attention and the feed-forward network, of the same shape as `x`."""
        placed = x + positions
        x = self.norm1(x + self.drop(self.attention(placed, placed, x)))
        return self.norm2(x + self.drop(self.mlp(x)))


class DecoderLayer(nn.Module):
    """Self-attention between queries, attention to the map, then a feed-forward network: (N, Q, width) -> the same."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention, self.cross = (Attention(width, heads, dropout) for _ in range(2))
        self.mlp = FeedForward(width, hidden, dropout)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, places: Tensor, memory: Tensor, positions: Tensor, bias: Bias | None = None) -> Tensor:
        """x: (N, Q, width), with positions `places`. memory: (N, T, width), with `positions`. bias: see `Bias`."""
        x = self.among(x, places)
        x = self.norm2(x + self.drop(self.cross(x + places, memory + positions, memory, bias)))
        return self.norm3(x + self.drop(self.mlp(x)))

    def among(self, x: Tensor, places: Tensor) -> Tensor:
        """Self-attention between the queries, the first third of the layer."""
        placed = x + places
        return self.norm1(x + self.drop(self.attention(placed, placed, x)))


def initialise(module: nn.Module) -> None:
    """Fill the weights of all dense layers Xavier-uniformly, as published."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)


def mlp(width: int, hidden: int, outputs: int, depth: int) -> nn.Sequential:
    """Dense layers with ReLUs between."""
    sizes = [width, *[hidden] * (depth - 1), outputs]
    layers: list[nn.Module] = []
    for inputs, size in pairwise(sizes):
        layers += [nn.Linear(inputs, size), nn.ReLU()]
    return nn.Sequential(*layers[:-1])

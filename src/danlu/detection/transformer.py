"""Encoder and decoder layers of DETR, and positions of map cells as sines (Carion et al. 2020, appendix A.3).

Post-norm layers as published: positions are added to queries and keys of every attention, not to values.
N images, T cells of the map, Q queries.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None) -> Tensor:
        """(N, Q, width), (N, T, width) twice -> (N, Q, width). bias: added to the logits (N, heads, Q, T)."""
        q, k, v = self.projected(queries, keys, values)
        drop = self.dropout if self.training else 0.0
        if bias is not None:
            bias = bias.to(q.dtype)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=drop)
        return self.out(x.transpose(1, 2).flatten(2))

    @torch.no_grad()
    def weights(self, queries: Tensor, keys: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attention of each query to each cell, mean over the heads: (N, Q, T), rows sum to 1."""
        q, k, _ = self.projected(queries, keys, keys)
        logits = (q @ k.transpose(2, 3) / math.sqrt(q.shape[3])).float()
        return (logits if bias is None else logits + bias).softmax(3).mean(1)


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

    def forward(
        self, x: Tensor, places: Tensor, memory: Tensor, positions: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """x: (N, Q, width), with positions `places`. memory: (N, T, width), with `positions`. bias: see `Attention`."""
        placed = x + places
        x = self.norm1(x + self.drop(self.attention(placed, placed, x)))
        x = self.norm2(x + self.drop(self.cross(x + places, memory + positions, memory, bias)))
        return self.norm3(x + self.drop(self.mlp(x)))


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

"""Sequences: rows of images for recurrent networks, and random walks whose next item a small decoder predicts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from data import Data
from loop import Loop
from torch import Tensor, nn

ITEMS, LENGTH, BRANCHES = 12, 12, 2  # of the walks: items, items in a walk, items that may follow one


class RowsOfImages(nn.Module):
    """A GRU over the rows of an image; `step` is the time step whose state is classified."""

    def __init__(self, data: Data, batch_first: bool, step: int) -> None:
        super().__init__()
        self.rnn = nn.GRU(data.x.shape[1] * data.x.shape[3], 48, batch_first=batch_first)
        self.head = nn.Linear(48, data.outputs)
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x.transpose(1, 2).flatten(2))[0][:, self.step])


def rows_of_images(batch_first: bool = True, step: int = -1) -> Callable[[Data], nn.Module]:
    return lambda data: RowsOfImages(data, batch_first, step)


def walks(seed: int, count: int = 400) -> Data:
    """Walks in a random graph: x holds all items but the last, y all but the first, int64 (N, T)."""
    g = torch.Generator().manual_seed(seed)
    follows = torch.stack([torch.randperm(ITEMS, generator=g)[:BRANCHES] for _ in range(ITEMS)])
    items = torch.zeros(count, LENGTH + 1, dtype=torch.int64)
    items[:, 0] = torch.randint(0, ITEMS, (count,), generator=g)
    for t in range(LENGTH):
        items[:, t + 1] = follows[items[:, t], torch.randint(0, BRANCHES, (count,), generator=g)]
    held = count // 4
    return Data(items[held:, :-1], items[held:, 1:], items[:held, :-1], items[:held, 1:], "classes", ITEMS)


class Decoder(nn.Module):
    """One transformer layer over item and position embeddings."""

    def __init__(self, data: Data, causal: bool) -> None:
        super().__init__()
        self.items = nn.Embedding(data.outputs, 32)
        self.places = nn.Parameter(torch.randn(data.x.shape[1], 32) * 0.1)
        self.block = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(32, data.outputs)
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1]) if self.causal else None
        return self.head(self.block(self.items(x) + self.places, src_mask=mask))


def decoder(causal: bool = True) -> Callable[[Data], nn.Module]:
    return lambda data: Decoder(data, causal)


class NextItemLoss(nn.CrossEntropyLoss):
    """Cross entropy over all places of all sequences."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return super().forward(input.flatten(0, 1), target.flatten())


class NextItems(Loop):
    """Loop whose score is the fraction of places where an item that may follow is predicted."""

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        return (outputs.argmax(2) == targets).float().mean().item()

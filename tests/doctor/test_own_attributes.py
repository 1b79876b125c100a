"""The runs of the doctor leave no trace in what a model keeps itself: counters, lists, caches, generators."""

from __future__ import annotations

import random
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import danlu
from danlu.doctor.observation.own_attributes import kept_attributes


class Remembering(nn.Module):
    """A classifier that counts its calls and keeps its inputs, losses and random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))
        self.calls, self.last, self.largest = 0, None, []
        self.seen: dict[str, list[int]] = {"rows": []}
        self.total, self.counts = torch.zeros(6), np.zeros(2)
        self.generator, self.python, self.numpy = torch.Generator(), random.Random(3), np.random.default_rng(3)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = x.detach()
        self.largest.append(float(x.detach().max()))
        self.seen["rows"].append(len(x))
        self.total += x.detach().sum(0)
        self.counts[int(self.training)] += 1
        self.noise = float(torch.rand((), generator=self.generator)) + self.python.random() + self.numpy.random()
        return self.layers(x)

    def kept(self) -> dict[str, Any]:
        last = [] if self.last is None else self.last.tolist()
        return {
            **{
                "calls": self.calls,
                "last": last,
                "largest": self.largest,
                "seen": self.seen,
                "training": self.training,
            },
            **{"total": self.total.tolist(), "counts": self.counts.tolist(), "noise": getattr(self, "noise", None)},
        }


def trained(watched: bool) -> dict[str, Any]:
    torch.manual_seed(0)
    model, loss_fn = Remembering(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    x, y = torch.randn(128, 6), torch.randint(0, 3, (128,))
    context = danlu.watch(model, optimizer, loss_fn, quiet=True) if watched else nullcontext()
    with context as doctor:
        for _ in range(4):
            model.train()
            for rows in torch.arange(128).split(16):
                optimizer.zero_grad()
                loss_fn(model(x[rows]), y[rows]).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                loss_fn(model(x[:32]), y[:32])
    if doctor is not None:
        assert doctor.ledger.has("probe.used_inputs"), "the model was run again"
        assert doctor.ledger.has("mode.loss_eval")
    return model.kept()


def test_a_model_that_counts_its_calls_counts_only_those_of_the_loop() -> None:
    watched, alone = trained(watched=True), trained(watched=False)
    assert watched == alone
    assert alone["calls"] == 36


def test_attributes_are_restored_after_an_error_and_new_ones_removed() -> None:
    model = Remembering()
    model(torch.ones(4, 6))
    total, largest, before = model.total, model.largest, model.kept()
    try:
        with kept_attributes(model):
            model.eval()
            model(torch.full((4, 6), 7.0))
            model.cache = {}
            assert model.calls == 2
            raise RuntimeError("a run that fails")
    except RuntimeError:
        pass
    assert model.kept() == before
    assert model.total is total
    assert model.largest is largest
    assert not hasattr(model, "cache")

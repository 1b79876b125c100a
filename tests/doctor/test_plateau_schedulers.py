"""ReduceLROnPlateau with the mode of the other kind of metric."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import danlu

X = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(1)
TRAIN, HELD = slice(0, 150), slice(150, 200)


def findings(mode: str, by_accuracy: bool, percent: bool = False) -> list[str]:
    torch.manual_seed(0)
    model = nn.Linear(8, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode=mode, patience=1)  # type: ignore[arg-type]
    with danlu.watch(model, optimizer, budget=math.inf) as doctor:
        for _ in range(8):
            for rows in torch.randperm(150).split(25):
                optimizer.zero_grad()
                F.cross_entropy(model(X[rows]), Y[rows]).backward()
                optimizer.step()
            with torch.no_grad():
                outputs = model(X[HELD])
                loss = F.cross_entropy(outputs, Y[HELD]).item()
                accuracy = (outputs.argmax(1) == Y[HELD]).float().mean().item()
            scheduler.step((100 if percent else 1) * accuracy if by_accuracy else loss)
    return [finding.code for finding in doctor.findings]


@pytest.mark.parametrize(("by_accuracy", "percent"), [(True, False), (True, True), (False, False)])
def test_the_worst_value_is_not_waited_for(by_accuracy: bool, percent: bool) -> None:
    right, wrong = ("max", "min") if by_accuracy else ("min", "max")
    assert "loop.scheduler_misuse" not in findings(right, by_accuracy, percent)
    assert "loop.scheduler_misuse" in findings(wrong, by_accuracy, percent)

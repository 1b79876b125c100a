"""Comparisons of predictions with labels, and accuracies that are divided by another number than that of the predictions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from danlu.doctor.observation.comparisons import COMPARISONS
from danlu.doctor.watch import Doctor, watch


def test_listening_changes_no_comparison_and_ends() -> None:
    heard: list[tuple[Tensor, Tensor, Tensor]] = []
    a, b = torch.tensor([1, 2, 3]), torch.tensor([1, 0, 3])

    def hear(equal: Tensor, one: Tensor, other: Tensor) -> None:
        heard.append((equal, one, other))

    COMPARISONS.add(hear)
    try:
        results = [a == b, a.eq(b), a != b, a == 2, a.float() == b.float()]
    finally:
        COMPARISONS.remove(hear)
    expected = [
        [True, False, True],
        [True, False, True],
        [False, True, False],
        [False, True, False],
        [True, False, True],
    ]
    assert [one.tolist() for one in results] == expected
    assert [equal.tolist() for equal, _, _ in heard] == [*expected[:2], expected[4]]
    assert heard[0][1:] == (a, b)
    assert "__eq__" not in vars(Tensor)
    assert "eq" not in vars(Tensor)
    assert hash(a) == hash(a)


def validated(divisor: int | None, every: int = 1) -> Doctor:
    """Train on 200 samples without a loss in validation, and report right / divisor (None: the size of the split)."""
    torch.manual_seed(0)
    x = torch.randn(300, 6)
    y = x[:, :3].argmax(1)
    model, loss_fn = nn.Linear(6, 3), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with watch(model, optimizer, loss_fn) as doctor:
        for _ in range(6):
            for i in range(0, 200, 20):
                optimizer.zero_grad()
                loss_fn(model(x[i : i + 20]), y[i : i + 20]).backward()
                optimizer.step()
            right = 0
            with torch.no_grad():
                for i in range(200, 300, 50):
                    right += int((model(x[i : i + 50]).argmax(1) == y[i : i + 50]).sum())
            doctor.epoch(val_accuracy=every * right / (divisor or 100))
    return doctor


@pytest.mark.parametrize(
    ("divisor", "every", "found"),
    [(None, 1, False), (200, 1, True), (None, 100, False), (200, 100, True), (80, 1, True)],
)
def test_an_accuracy_divided_by_another_number_is_found(divisor: int | None, every: int, found: bool) -> None:
    findings = [one for one in validated(divisor, every).findings if one.code == "loop.metric_wrong"]
    assert bool(findings) is found
    if found:
        assert findings[0].evidence["divisor"] == divisor

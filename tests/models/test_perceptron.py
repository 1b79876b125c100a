"""The perceptron's rule, its bound and its limits (claims: Rosenblatt 1958, Novikoff 1962)."""

from __future__ import annotations

import pytest
import torch

from danlu.models.network_table import build_model
from danlu.models.networks.perceptron import learn, mistake_bound
from danlu.refuse import Refusal


@pytest.mark.parametrize("seed", range(10))
def test_mistakes_stay_within_the_bound(seed: int):
    torch.manual_seed(seed)
    line, offset = torch.randn(3, dtype=torch.double), 0.3
    x = torch.randn(200, 3, dtype=torch.double)
    value = x @ line + offset
    x, y = x[value.abs() > 0.1], value[value.abs() > 0.1].sign()
    learnt = learn(x, y, passes=100_000)
    assert learnt.converged
    assert (y * (x @ learnt.weights + learnt.bias) > 0).all()
    assert 0 < learnt.mistakes <= mistake_bound(x, y, line, offset)


def test_bound_of_a_known_case():
    # (1, 0) and (-1, 0): r = 1, margin 1 for the line x_0 = 0.
    x, y = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([1.0, -1.0])
    assert mistake_bound(x, y, torch.tensor([2.0, 0.0]), 0.0) == 2
    assert mistake_bound(x, -y, torch.tensor([2.0, 0.0]), 0.0) == float("inf")


def test_xor_is_never_learnt():
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    learnt = learn(x, torch.tensor([-1.0, 1.0, 1.0, -1.0]), passes=500)
    assert not learnt.converged
    assert learnt.mistakes >= 500


def test_same_as_gradient_descent_on_one_sample():
    """Gradient descent with rate 1 on max(0, -y o), whose gradient at a tie passes, takes the same steps."""
    torch.manual_seed(0)
    x = torch.randn(20, 2)
    y = (x[:, 0] + 0.5).sign()
    model = build_model("perceptron", inputs=2, classes=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for sample, label in zip(x, y):
        behind = -label * model(sample[None])[0, 0]
        torch.where(behind >= 0, behind, 0).backward()
        optimizer.step()
        optimizer.zero_grad()
    learnt = learn(x, y, passes=1)
    torch.testing.assert_close(model.head.weight[0], learnt.weights)
    torch.testing.assert_close(model.head.bias[0], learnt.bias)


def test_labels_are_checked():
    with pytest.raises(Refusal, match=r"-1 or \+1"):
        learn(torch.zeros(2, 1), torch.tensor([0.0, 1.0]))

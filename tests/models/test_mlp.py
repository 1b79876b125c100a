"""Effects and costs of depth and non-linearity: textbook statements on the MLP."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from danlu.models.network_table import build_model
from danlu.models.networks.mlp import MLP


def test_without_a_non_linearity_depth_adds_nothing():
    torch.manual_seed(0)
    model = MLP(4, 3, width=(8,), activation="none").double()
    first, last = model.hidden[0], model.head
    x = torch.randn(10, 4, dtype=torch.double)
    collapsed = F.linear(x, last.weight @ first.weight, last.weight @ first.bias + last.bias)
    torch.testing.assert_close(model(x), collapsed)


@pytest.mark.parametrize(("d", "m", "k"), [(784, 256, 10), (2, 2, 1), (8, 64, 1)])
def test_parameters_of_one_hidden_layer(d: int, m: int, k: int):
    model = build_model("mlp", inputs=d, classes=k, width=(m,))
    assert sum(p.numel() for p in model.parameters()) == (d + 1) * m + (m + 1) * k


def test_one_hidden_layer_learns_xor():
    torch.manual_seed(0)
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([0, 1, 1, 0])
    model = build_model("mlp", inputs=2, classes=2, width=(8,), activation="tanh")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert torch.equal(model(x).argmax(1), y)


def test_backward_formulas_of_a_two_layer_net():
    """dz2 = yhat - y, dW2 = dz2^T a1 / n, dz1 = (dz2 W2) a1 (1 - a1), dW1 = dz1^T x / n: equal to autograd's."""
    torch.manual_seed(0)
    n = 16
    x, y = torch.randn(n, 5, dtype=torch.double), torch.randint(0, 2, (n, 1)).double()
    model = MLP(5, 1, width=(4,), activation="sigmoid").double()
    outputs = model(x)
    F.binary_cross_entropy_with_logits(outputs, y).backward()
    first, last = model.hidden[0], model.head
    a1 = model.hidden(x).detach()
    dz2 = outputs.detach().sigmoid() - y
    dz1 = dz2 @ last.weight.detach() * a1 * (1 - a1)
    torch.testing.assert_close(last.weight.grad, dz2.T @ a1 / n)
    torch.testing.assert_close(last.bias.grad, dz2.mean(0))
    torch.testing.assert_close(first.weight.grad, dz1.T @ x / n)
    torch.testing.assert_close(first.bias.grad, dz1.mean(0))


@pytest.mark.parametrize(
    ("init", "low", "high"), [("normal:0.01", 0.0, 1e-10), ("xavier", 0.03, 3.0), ("zero", 0.0, 0.0)]
)
def test_small_normal_weights_fail_in_depth_and_xavier_holds(init: str, low: float, high: float):
    """Twenty tanh layers of 128: N(0, 0.01) shrinks the signal by 0.11 a layer; Xavier keeps it."""
    torch.manual_seed(0)
    model = build_model("mlp", inputs=128, classes=2, width=(128,) * 20, activation="tanh", init=init)
    size = model.hidden(torch.randn(256, 128)).std().item()
    assert low <= size <= high


def test_dropout_is_scaled_and_off_in_evaluation():
    torch.manual_seed(0)
    model = build_model("mlp", inputs=10, classes=2, width=(4000,), dropout=0.5)
    x = torch.randn(1, 10)
    assert isinstance(model.hidden[-1], nn.Dropout)
    trained = model.hidden(x)
    used = model.eval().hidden(x)
    kept = trained != 0
    torch.testing.assert_close(trained[kept], 2 * used[kept])
    assert kept.sum() / (used != 0).sum() == pytest.approx(0.5, abs=0.05)

"""The logistic regression of the last layer: its optimality conditions and its edge cases."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import one_hot

from danlu.learning.linear_probe import fit_logistic


@pytest.mark.parametrize("penalty", [1.0, 10.0])
def test_the_gradient_of_the_objective_is_zero(penalty):
    digits = load_digits()
    x, y = torch.tensor(digits.data[:300] / 16), torch.tensor(digits.target[:300])
    weight, bias = fit_logistic(x, y, 10, penalty)
    error = (x @ weight.double().T + bias.double()).softmax(1) - one_hot(y, 10)
    assert (error.T @ x + penalty * weight.double()).abs().max() < 0.05  # of a sum over 300 samples
    assert error.sum(0).abs().max() < 0.05


def test_two_classes_give_two_opposite_rows():
    digits = load_digits()
    kept = digits.target < 2
    x, y = torch.tensor(digits.data[kept] / 16), torch.tensor(digits.target[kept])
    weight, bias = fit_logistic(x, y, 2)
    assert torch.equal(weight[0], -weight[1])
    assert ((x.float() @ weight.T + bias).argmax(1) == y).float().mean() > 0.99


def test_a_class_without_a_sample_is_never_the_best():
    x = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.1], [1.1, 0.0]])
    weight, bias = fit_logistic(x, torch.tensor([0, 2, 0, 2]), 4, penalty=0.01)
    assert (x @ weight.T + bias).argmax(1).tolist() == [0, 2, 0, 2]

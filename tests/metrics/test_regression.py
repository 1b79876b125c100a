import math

import pytest
import torch
from sklearn import metrics as sk

from danlu.metrics.regression import regression_metrics


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("mean", [0.0, 1e6])
def test_figures_are_those_of_scikit_learn(columns, mean):
    generator = torch.Generator().manual_seed(columns)
    targets = torch.randn(60, columns, generator=generator) + mean
    outputs = targets + 0.5 * torch.randn(60, columns, generator=generator)
    found = regression_metrics(outputs, targets)
    exact = targets.double(), outputs.double()
    assert found["r2"] == pytest.approx(sk.r2_score(*exact), abs=1e-9)
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(*exact))
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(*exact))
    assert all(type(value) is float for value in found.values())


@pytest.mark.parametrize(("outputs", "r2"), [([2.0, 2.0], 1.0), ([1.0, 2.0], 0.0)])
def test_equal_targets_as_scikit_learn_has_them(outputs, r2):
    found = regression_metrics(torch.tensor(outputs), torch.tensor([2.0, 2.0]))
    assert found["r2"] == r2 == sk.r2_score([2.0, 2.0], outputs)


def test_one_column_may_be_flat():
    flat = regression_metrics(torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 1.0]))
    assert (flat["mae"], flat["rmse"]) == pytest.approx((1.5, math.sqrt(2.5)))


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_samples_have_no_r2(n):
    assert math.isnan(regression_metrics(torch.ones(n, 1), torch.zeros(n, 1))["r2"])

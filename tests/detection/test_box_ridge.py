"""Ridge regression of boxes, against the formula."""

from __future__ import annotations

import numpy as np
import pytest

from danlu.detection import box_ridge
from danlu.detection.box_ridge import BoxRidge


def test_the_formula():
    """(X'X + lambda 1)^-1 X'Y of centred features and codes."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(2, 5, (300, 7)), rng.normal(1, 1, (300, 4))
    ridge = BoxRidge(7)
    ridge.add(x[:100], y[:100])
    ridge.add(x[100:], y[100:])
    ridge.fit()
    centred = x - x.mean(0)
    wanted = np.linalg.solve(centred.T @ centred + box_ridge.PENALTY * np.eye(7), centred.T @ (y - y.mean(0))).T
    assert ridge.weight == pytest.approx(wanted, abs=1e-5)
    assert ridge.bias == pytest.approx(y.mean(0) - wanted @ x.mean(0), abs=1e-5)


def test_without_regions_boxes_stay():
    ridge = BoxRidge(3)
    ridge.fit()
    assert not ridge.weight.any()
    assert not ridge.bias.any()


def test_number_of_regions_is_limited(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(box_ridge, "MAX_REGIONS", 10)
    few, many = BoxRidge(2), BoxRidge(2)
    x, y = np.random.default_rng(0).normal(size=(30, 2)), np.random.default_rng(1).normal(size=(30, 4))
    few.add(x[:10], y[:10])
    for start in range(0, 30, 6):
        many.add(x[start : start + 6], y[start : start + 6])
    few.fit()
    many.fit()
    assert many.weight == pytest.approx(few.weight)

"""Metrics over folds of which some lack a value."""

from __future__ import annotations

import pytest

from danlu.training.folds import over_folds


def test_metrics_that_a_fold_lacks_have_no_mean() -> None:
    means, deviations = over_folds([{"loss": 1.0, "rotation": 20.0}, {"loss": 3.0, "rotation": None}, {"loss": 2.0}])
    assert means == {"loss": 2.0}
    assert deviations == pytest.approx({"loss": 1.0})

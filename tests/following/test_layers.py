"""Charts of the layers on the live page."""

from __future__ import annotations

import pytest

from danlu.doctor.ledger import Ledger
from danlu.following.layers import layer_charts


@pytest.mark.parametrize(("largest", "ticks"), [(0.9, None), (30.0, "D2"), (5000.0, 1)])
def test_ticks_of_a_logarithmic_axis_fit_its_range(largest: float, ticks: str | int | None) -> None:
    """Plotly's own ticks of two decades are 0.001, 0.0009, 0.0008, ..., which touch one another."""
    ledger = Ledger()
    for step, value in enumerate((0.4, largest, 0.5)):
        ledger.add("gradient.norm", value, "head.weight", step)
        ledger.add("update.ratio", 0.002, "head.weight", step)
    charts = layer_charts(ledger)
    assert charts["gradients"][1]["layout"]["yaxis"]["dtick"] == ticks
    assert charts["updates"][1]["layout"]["yaxis"]["dtick"] == "D2"  # the band of usual values is shown whole

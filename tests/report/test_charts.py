"""Figures contain the given numbers and conform to Plotly's schema."""

from __future__ import annotations

import json

import numpy as np
import plotly.graph_objects as go
import pytest

from danlu.doctor.ledger import Ledger
from danlu.report import charts

ROWS = [
    {"kind": "step", "step": 5, "epoch": 1, "train.loss": 3.0, "lr": 0.1},
    {
        "kind": "epoch",
        "step": 10,
        "epoch": 1,
        "train.loss": 2.0,
        "val.loss": 2.5,
        "val.accuracy": 0.5,
        "samples_per_second": 9.0,
    },
    {"kind": "step", "step": 15, "epoch": 2, "train.loss": 1.5, "lr": 0.05},
    {
        "kind": "epoch",
        "step": 20,
        "epoch": 2,
        "train.loss": 1.0,
        "val.loss": None,
        "val.accuracy": 0.75,
        "samples_per_second": 8.0,
    },
]
BINS = [
    {"low": 0.0, "high": 0.5, "count": 0, "confidence": 0.0, "accuracy": 0.0},
    {"low": 0.5, "high": 1.0, "count": 4, "confidence": 0.9, "accuracy": 0.75},
]
PAIRS = [[0.0, 0.5], [1.0, 0.5], [2.0, float("nan")]]


def valid(figure: dict) -> dict:
    """The figure, once Plotly's validators have taken every name and value in it (colours are the page's)."""
    text = json.dumps(figure)
    for name in {part.split('"')[0] for part in text.split("var(")[1:]}:
        text = text.replace(f'"var({name}"', '"#123456"')
    go.Figure(json.loads(text), skip_invalid=False)
    return figure


def test_curves_join_train_val_steps_and_best() -> None:
    assert len(valid(charts.curves(ROWS, "loss"))["data"]) == 2, "no line of steps through a single step per epoch"
    more = {"kind": "step", "step": 18, "epoch": 2, "train.loss": 1.2, "lr": 0.04}
    figure = valid(charts.curves([*ROWS, more], "loss", best_epoch=1) or {})
    steps, train, val, best = figure["data"]
    assert list(steps["x"]) == [0.5, 1.5, 1.8]
    assert train["y"] == [2.0, 1.0]
    assert val["y"] == [2.5, None]  # a loss that was not finite leaves a gap
    assert (best["x"], best["y"]) == ([1], [2.5])
    assert figure["layout"]["hovermode"] == "x unified"


def test_the_axis_of_a_constant_fraction_ends_at_100_percent() -> None:
    rows = [{"kind": "epoch", "epoch": n, "val.accuracy": 1.0, "val.loss": 1.0} for n in (1, 2)]
    assert charts.curves(rows, "accuracy")["layout"]["yaxis"]["maxallowed"] == pytest.approx(1.02)
    assert charts.curves(rows, "accuracy")["layout"]["yaxis"]["minallowed"] == pytest.approx(-0.02)
    assert "maxallowed" not in charts.curves(rows, "loss")["layout"]["yaxis"]


def test_curves_without_records_are_none() -> None:
    assert charts.curves(ROWS, "r2") is None
    assert charts.learning_rate([]) is None
    assert charts.speed([]) is None
    assert charts.scatter([]) is None
    assert charts.residuals([]) is None
    assert charts.reliability(BINS[:1]) is None


def test_rate_follows_the_steps_and_speed_the_epochs() -> None:
    assert list(valid(charts.learning_rate(ROWS) or {})["data"][0]["y"]) == [0.1, 0.05]
    assert list(valid(charts.speed(ROWS) or {})["data"][0]["y"]) == [9.0, 8.0]


def test_a_warmup_between_two_logged_steps_is_drawn() -> None:
    epochs = [{"kind": "epoch", "epoch": epoch, "step": 10 * epoch, "lr": 0.1} for epoch in (1, 2)]
    ledger = Ledger()
    for step, value in enumerate((0.1, 0.01, 0.05, 0.09)):
        ledger.add("optimizer.lr", value, "optimizer0.group0", step)
        ledger.add("optimizer.lr", value / 10, "optimizer0.group1", step)
    line = valid(charts.learning_rate(epochs, ledger) or {})["data"][0]
    assert list(zip(line["x"], line["y"])) == [(0.1, 0.01), (0.2, 0.05), (0.3, 0.09), (1, 0.1), (2, 0.1)]


def test_confusion_counts_and_row_percentages() -> None:
    figure, shown = charts.confusion([[3, 1], [0, 0]], ["a", "b"])
    cells = valid(figure)["data"][0]
    assert shown == 2
    assert cells["z"] == [[0.75, -0.25], [0.0, 0.0]]  # mistakes are negative; an absent class divides by nothing
    assert cells["customdata"][0] == [[3, 75.0], [1, 25.0]]
    assert cells["text"] == [["3", "1"], ["", ""]]


def test_confusion_of_very_many_classes_keeps_those_with_most_mistakes() -> None:
    matrix = 5 * np.eye(300, dtype=int)
    matrix[250, 7] = 9
    figure, shown = charts.confusion(matrix.tolist(), [str(i) for i in range(300)])
    assert shown == charts.REDUCED_CLASSES
    assert {"7", "250"} <= set(figure["data"][0]["x"])
    assert len(json.dumps(figure)) < 100_000


def test_confusion_keeps_equally_shortened_names_apart() -> None:
    names = ["a" * 50 + str(i) * 40 + "z" * 50 for i in range(3)]
    figure, _ = charts.confusion(np.eye(3, dtype=int).tolist(), names)
    assert len(set(figure["data"][0]["x"])) == 3


def test_confusion_escapes_names_for_plotly() -> None:
    figure, _ = charts.confusion([[1, 0], [0, 1]], ["<b>bold</b>", "x"])
    assert figure["data"][0]["x"][0] == "&lt;b&gt;bold&lt;/b&gt;"


def test_reliability_leaves_empty_bins_out_and_draws_the_gap() -> None:
    right, gap, _, counts = valid(charts.reliability(BINS) or {})["data"]
    assert right["x"] == [0.75]
    assert (right["y"], gap["base"]) == ([0.75], [0.75])
    assert gap["y"] == [pytest.approx(0.15)]
    assert counts["y"] == [4]


def test_scatter_skips_what_is_not_finite_and_thins_what_is_too_much() -> None:
    assert valid(charts.scatter(PAIRS) or {})["data"][0]["x"] == [0.0, 1.0]
    many = charts.scatter([[i, i] for i in range(10_000)]) or {}
    assert 2000 <= len(many["data"][0]["x"]) <= charts.MAX_POINTS


def test_residuals_count_every_sample_once() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=500)
    pairs = np.stack([true, true + rng.standard_t(2, size=500)], axis=1)
    assert sum(valid(charts.residuals(pairs.tolist()) or {})["data"][0]["y"]) == 500
    assert sum((charts.residuals([[1.0, 1.0]] * 7) or {})["data"][0]["y"]) == 7

"""Results as attributes, mappings and JSON have the same values."""

import json
import math

import pytest

from danlu.run.summary import Metrics, SplitMetrics, Summary

KEPT = {
    "run": "runs/1",
    "task": "classify",
    "model": "mlp",
    "epochs": 3,
    "metrics": {"train": {"loss": 0.5, "accuracy": 0.8}, "val": {"loss": 0.6, "accuracy": None}, "test": {}},
    "seconds": 1.5,
    "samples_per_second": 100.0,
    "findings": [],
    "best_epoch": 2,
    "monitor": "accuracy",
    "better": "high",
    "parameters": 10,
    "data": {
        "path": "digits",
        "format": "sklearn",
        "counts": {"train": 8, "val": 1, "test": 1},
        "classes": ["a", "b"],
        "input": [1, 8, 8],
        "how": "random",
        "notes": [],
        "problems": [],
    },
    "choices": [],
    "transfer": None,
    "timings": {"training": 1.5},
    "test_looks": 1,
    "evaluation": {},
    "augmented": [],
    "stopped": None,
    "folds": None,
}


def test_json_is_read_and_written_unchanged():
    summary = Summary.from_json(json.loads(json.dumps(KEPT)))
    assert json.dumps(summary.to_json()) == json.dumps(KEPT)
    folds = KEPT | {"folds": [{"fold": 0, "val": {"loss": 1.0}}], "refit": "all", "fold_mean": {"loss": 1.0}}
    assert Summary.from_json(folds).to_json() == folds


def test_attributes_and_keys_are_the_same():
    summary = Summary.from_json(KEPT)
    assert summary.metrics.train.accuracy == summary["metrics"]["train"]["accuracy"] == 0.8
    assert [*summary["metrics"]] == ["train", "val", "test"]
    assert {*summary["metrics"]["train"]} == {"loss", "accuracy"}
    assert summary.data.counts["train"] == 8
    assert summary["metrics"]["test"] == {}
    assert summary.metrics.train.get("r2") is None
    with pytest.raises(KeyError):
        summary["metrics"]["train"]["r2"]
    with pytest.raises(AttributeError):
        summary.epochs = 5


def test_a_metric_that_is_undefined_is_nan_and_null_in_json():
    metrics = Metrics.from_json({"loss": None, "box_loss": 0.25})
    assert math.isnan(metrics.loss)
    assert metrics.accuracy is None
    assert metrics["box_loss"] == metrics.other["box_loss"] == 0.25
    assert metrics.to_json() == {"loss": None, "box_loss": 0.25}


def test_an_unfinished_run_has_an_empty_summary():
    summary = Summary.from_json({})
    assert not summary
    assert summary.to_json() == {}
    assert summary.epochs == 0
    assert not summary.metrics.val


def test_one_line_shows_what_matters():
    assert str(Summary.from_json(KEPT)) == ("Summary(runs/1: classify, mlp, 3 epochs, val loss=0.6, accuracy=nan)")
    assert repr(SplitMetrics.of("test", {"loss": 0.5}).test) == "Metrics(loss=0.5)"
    assert "0x" not in repr(Summary.from_json(KEPT).data)


def test_an_editor_completes_what_users_need() -> None:
    offered = dir(Summary.from_json(KEPT))
    assert {"metrics", "findings", "to_json", "keys"} <= set(offered)
    assert not {"KEYS", "ALWAYS", "from_json"} & set(offered)
    assert not any(name.startswith("_") for name in offered)

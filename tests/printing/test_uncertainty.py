"""Sentences on small validation and test sets."""

import pytest

from danlu.printing.uncertainty import uncertainty
from danlu.run.summary import SplitMetrics, Summary


def lines(val, test, counts, fold=None):
    metrics = {"val": {"loss": 1.0, "accuracy": val}} | ({"test": {"loss": 1.0, "accuracy": test}} if test else {})
    made = Summary(run="r", task="classify", model="mlp", epochs=1)
    return [str(line) for line in uncertainty(made_with(made, metrics, counts), fold)]


def made_with(summary, metrics, counts):
    from dataclasses import replace

    return replace(summary, metrics=SplitMetrics.from_json(metrics), data={"counts": counts})


def test_small_test_set_has_its_interval_and_folds_are_suggested():
    assert lines(0.667, 0.6667, {"train": 72, "val": 27, "test": 27}) == [
        "test accuracy 66.7% on 27 samples: 48% to 81% with 95 % confidence",
        "27 validation samples choose the epoch: `--folds 5` validates on every training sample",
    ]


def test_gap_to_validation_is_named_where_chance_does_not_explain_it():
    found = lines(1.0, 0.7778, {"train": 100, "val": 45, "test": 45})
    assert found[1] == "validation accuracy 100.0% is higher than chance explains; trust the test set"
    assert len(lines(0.9, 0.8778, {"train": 100, "val": 450, "test": 450})) == 1


@pytest.mark.parametrize(("counts", "fold"), [({"val": 2000, "test": 5000}, None), ({"val": 20, "test": 0}, 1)])
def test_large_sets_and_folds_need_no_line(counts, fold):
    assert lines(0.9, 0.9, counts, fold) == []


def test_validation_set_stands_in_for_a_missing_test_set():
    assert lines(0.9, None, {"train": 100, "val": 50, "test": 0})[0].startswith("val accuracy 90.0% on 50 samples")


def test_chinese(monkeypatch):
    from danlu.message import speaking

    with speaking("zh"):
        assert "置信区间" in lines(0.667, 0.6667, {"train": 72, "val": 27, "test": 27})[0]

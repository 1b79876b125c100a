import json

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from danlu.metrics.classification import (
    MAX_ROWS,
    classification_metrics,
    compact,
    confusion_matrix,
    expanded,
    expected_calibration_error,
    per_class,
    reliability,
    wilson_interval,
)


def made(n: int, classes: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, classes, generator=generator)
    targets = torch.randint(classes, (n,), generator=generator)
    logits[range(n), targets] += 1.5
    return logits.softmax(1), targets


@pytest.mark.parametrize(
    ("hits", "samples", "low", "high"),
    [(18, 27, 0.4782, 0.8136), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_interval_of_published_cases(hits, samples, low, high):
    """The last is the example of Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I."""
    assert wilson_interval(hits / samples, samples) == pytest.approx((low, high), abs=1e-3)


@pytest.mark.parametrize(("n", "classes"), [(200, 10), (50, 3), (7, 2), (1, 6)])
def test_figures_are_those_of_scikit_learn(n, classes):
    p, targets = made(n, classes, seed=n)
    found = classification_metrics(p, targets)
    predicted = p.argmax(1)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(targets, predicted))
    assert found["f1"] == pytest.approx(sk.f1_score(targets, predicted, average="macro"))
    if classes > 5:
        top = sk.top_k_accuracy_score(targets, p, k=5, labels=range(classes))
        assert found["top5"] == pytest.approx(top)
    else:
        assert found["top5"] == 1
    assert all(type(value) is float for value in found.values())


def test_confusion_of_many_classes_is_compact_and_whole():
    generator = torch.Generator().manual_seed(0)
    for classes in (3, MAX_ROWS, MAX_ROWS + 1):
        predicted, targets = torch.randint(0, classes, (2, 500), generator=generator)
        matrix = confusion_matrix(predicted, targets, classes)
        stored = json.loads(json.dumps(compact(matrix)))
        assert isinstance(stored, dict) == (classes > MAX_ROWS)
        assert expanded(stored) == matrix.tolist()


def test_tables_are_those_of_scikit_learn():
    p, targets = made(100, 5, seed=3)
    targets[targets == 4] = 0  # a class that is predicted but never true
    predicted = p.argmax(1)
    predicted[predicted == 2] = 1  # and one that is true but never predicted
    confusion = confusion_matrix(predicted, targets, 5)
    assert (confusion.numpy() == sk.confusion_matrix(targets, predicted, labels=range(5))).all()
    expected = sk.precision_recall_fscore_support(targets, predicted, labels=range(5), zero_division=0)
    rows = per_class(confusion)
    for name, column in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert [row[name] for row in rows] == pytest.approx(column.tolist())


def test_calibration_error_by_its_definition():
    p, targets = made(300, 4, seed=5)
    confidence, predicted = (x.numpy() for x in p.double().max(1))
    right = predicted == targets.numpy()
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(p, targets) == pytest.approx(expected)
    assert classification_metrics(p, targets)["ece"] == pytest.approx(expected)


def test_reliability_counts_every_sample_once_and_edges_fall_low():
    p = torch.tensor([[0.5, 0.5], [0.2, 0.8], [0.0, 1.0], [0.4, 0.6]], dtype=torch.float64)
    bins = reliability(p, torch.tensor([0, 1, 0, 1]), bins=2)
    assert [b["count"] for b in bins] == [1, 3]  # 0.5 belongs to (0, 0.5]
    assert bins[0] == {"low": 0.0, "high": 0.5, "count": 1, "confidence": 0.5, "accuracy": 1.0}
    assert bins[1]["confidence"] == pytest.approx(0.8)
    assert bins[1]["accuracy"] == pytest.approx(2 / 3)
    assert reliability(p, torch.tensor([0, 1, 0, 1]), bins=4)[0]["accuracy"] is None


def test_equal_probabilities_never_give_more_accuracy_than_top5():
    found = classification_metrics(torch.full((4, 10), 0.1), torch.zeros(4, dtype=torch.long))
    assert found["accuracy"] == found["top5"] == 1


def test_outputs_that_are_not_numbers_are_not_called_good():
    found = classification_metrics(torch.full((4, 10), float("nan")), torch.full((4,), 3))
    assert found["accuracy"] == 0
    assert np.isnan(found["ece"])


def test_no_samples_give_no_figures():
    found = classification_metrics(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
    assert all(np.isnan(value) for value in found.values())

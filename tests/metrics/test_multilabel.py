"""Metrics of several labels against scikit-learn's."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from danlu.metrics.multilabel import average_precision, best_thresholds, label_metrics, per_label


@pytest.fixture
def sample():
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(200, 5, generator=generator).round(decimals=2)  # with ties
    targets = (torch.rand(200, 5, generator=generator) < torch.tensor([0.1, 0.3, 0.5, 0.05, 0.9])).float()
    return p, targets


def test_average_precision_is_that_of_scikit_learn(sample):
    p, targets = sample
    expected = [average_precision_score(targets[:, k], p[:, k]) for k in range(5)]
    assert average_precision(p, targets) == pytest.approx(expected)


def test_a_label_without_a_positive_sample_is_left_out_of_the_means(sample):
    p, targets = sample
    targets[:, 2] = 0
    assert math.isnan(average_precision(p, targets)[2])
    rest = [k for k in range(5) if k != 2]
    assert label_metrics(p, targets, [0.5] * 5)["mAP"] == pytest.approx(
        np.mean([average_precision(p, targets)[k] for k in rest])
    )
    assert label_metrics(p, targets, [0.5] * 5)["f1"] == pytest.approx(
        f1_score(targets[:, rest], p[:, rest] >= 0.5, average="macro")
    )


def test_f1_is_that_of_scikit_learn(sample):
    p, targets = sample
    thresholds = [0.2, 0.4, 0.5, 0.6, 0.8]
    predicted = p >= torch.tensor(thresholds)
    found = label_metrics(p, targets, thresholds)
    assert found["f1"] == pytest.approx(f1_score(targets, predicted, average="macro"))
    assert found["f1_micro"] == pytest.approx(f1_score(targets, predicted, average="micro"))
    for name, score in (("precision", precision_score), ("recall", recall_score)):
        expected = score(targets, predicted, average=None)
        assert [row[name] for row in per_label(p, targets, thresholds)] == pytest.approx(list(expected))


def test_no_threshold_has_a_larger_f1_than_the_chosen_one(sample):
    p, targets = sample
    for k, threshold in enumerate(best_thresholds(p, targets)):
        tried = [f1_score(targets[:, k], p[:, k] >= value) for value in np.linspace(0, 1, 201)]
        assert f1_score(targets[:, k], p[:, k] >= threshold) == pytest.approx(max(tried))


def test_a_threshold_lies_midway_between_the_scores_it_divides():
    p, targets = torch.tensor([[0.9], [0.8], [0.2], [0.1]]), torch.tensor([[1.0], [1.0], [0.0], [0.0]])
    assert best_thresholds(p, targets) == pytest.approx([0.5])
    assert best_thresholds(p, torch.zeros(4, 1)) == [0.5]

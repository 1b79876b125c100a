"""Support vector machines with hard negative mining, against a machine trained on all samples."""

from __future__ import annotations

import numpy as np
from sklearn.svm import LinearSVC

from danlu.detection import support_vectors
from danlu.detection.support_vectors import EASY, NEVER, MinedMachine


def clouds(objects: int = 60, background: int = 9000) -> tuple[np.ndarray, np.ndarray]:
    """Features of about the length that the machine expects; background is mostly far, some of it near."""
    rng = np.random.default_rng(0)
    positives = rng.normal(0, 3, (objects, 16)).astype(np.float32)
    positives[:, 0] += 18
    negatives = rng.normal(0, 3, (background, 16)).astype(np.float32)
    negatives[:, 1] += rng.uniform(0, 18, background).astype(np.float32)
    negatives[:200, 0] += 10
    return positives, negatives[rng.permutation(background)]


def test_mining_gives_what_all_the_background_would_give():
    positives, negatives = clouds()
    machine = MinedMachine(positives)
    for part in np.split(negatives, 6):
        machine.add(part)
    machine.fit()
    examples, answers = np.concatenate([positives, negatives]), np.arange(len(positives) + len(negatives)) < 60
    whole = LinearSVC(
        C=support_vectors.PENALTY, class_weight={True: 2.0}, intercept_scaling=10.0, random_state=0, max_iter=20_000
    ).fit(examples, answers)
    ours, theirs = machine.margins(examples), whole.decision_function(examples)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99
    assert ((ours > 0) == (theirs > 0)).mean() > 0.995
    assert len(machine.negatives) < len(negatives) / 2
    assert machine.margins(machine.negatives).min() >= EASY


def test_a_class_without_objects_is_never_found():
    machine = MinedMachine(np.zeros((0, 4), np.float32))
    machine.add(np.ones((50, 4), np.float32))
    machine.fit()
    assert (machine.margins(np.ones((3, 4), np.float32)) == NEVER).all()


def test_no_background_at_all():
    machine = MinedMachine(np.ones((5, 4), np.float32))
    machine.add(np.zeros((0, 4), np.float32))
    machine.fit()
    assert machine.margins(np.ones((1, 4), np.float32)) == 0

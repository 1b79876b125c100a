"""Choice of the best epoch on small validation sets."""

from __future__ import annotations

import io

import numpy as np
from rich.console import Console

import danlu
from danlu.run.best_epoch import SMALL_VALIDATION, WINDOW, smoothed

QUICK = {"model": "mlp", "model.width": (16,), "data.limit": 200, "val": 40, "batch_size": 20, "device": "cpu"}


def best_by_hand(rows: list[dict]) -> int:
    """Epoch of the highest min(accuracy, mean accuracy of the last five epochs); the loss decides between equals."""
    best, chosen = (-np.inf, -np.inf), 0
    for i in range(WINDOW - 1, len(rows)):
        last = rows[i - WINDOW + 1 : i + 1]
        accuracy, loss = [row["val.accuracy"] for row in last], [-row["val.loss"] for row in last]
        score = min(accuracy[-1], np.mean(accuracy)), min(loss[-1], np.mean(loss))
        if score[0] > best[0] + 1e-12 or (abs(score[0] - best[0]) <= 1e-12 and score[1] > best[1]):
            best, chosen = score, i + 1
    return chosen


def test_one_lucky_epoch_counts_no_more_than_the_epochs_before_it():
    accuracy = [0.5, 0.5, 0.5, 0.5, 1.0, 0.5, 0.7, 0.7, 0.7, 0.7, 0.7, 0.2]
    scores = [smoothed([(a, -1.0) for a in accuracy[i - 4 : i + 1]])[0] for i in range(4, len(accuracy))]
    assert scores[0] == 0.6, "epoch 5, the lucky one"
    assert max(scores) == 0.7
    assert scores[-1] == 0.2, "a bad epoch is not chosen for the good ones before it"
    assert smoothed([(0.9, -0.1), (0.9, -0.4)]) == (0.9, -0.4)


def test_the_best_epoch_of_few_validation_samples_is_that_of_the_smoothed_accuracy_also_after_a_resume(tmp_path):
    out = str(tmp_path / "run")
    noisy = QUICK | {"optimizer": "sgd", "lr": 1.0, "schedule": "constant", "console": Console(quiet=True)}
    run = danlu.train("digits", out=out, epochs=9, keep_state=True, **noisy)
    assert run.summary.data.counts["val"] < SMALL_VALIDATION
    rows = run.record.of("epoch")
    assert run.summary.best_epoch == best_by_hand(rows)
    again = danlu.train(resume=out, epochs=21, console=Console(quiet=True))
    rows = again.record.of("epoch")
    assert again.summary.best_epoch == best_by_hand(rows)
    best = rows[again.summary.best_epoch - 1]
    measured = danlu.evaluate(again, part="val")["metrics"]["val"]
    assert abs(measured["accuracy"] - best["val.accuracy"]) < 1e-6


def test_a_training_shorter_than_the_mean_keeps_its_last_epoch(tmp_path):
    run = danlu.train("digits", out=str(tmp_path / "run"), epochs=3, console=Console(quiet=True), **QUICK)
    assert run.summary.best_epoch == 3


def test_the_lines_name_a_best_epoch_only_where_epochs_are_compared(tmp_path):
    lines = Console(file=io.StringIO(), width=200)
    danlu.train("digits", out=str(tmp_path / "run"), epochs=WINDOW + 1, console=lines, **QUICK)
    epochs = [line for line in lines.file.getvalue().splitlines() if line.startswith("epoch")]  # type: ignore[attr-defined]
    assert len(epochs) == WINDOW + 1
    assert not any(" best" in line for line in epochs[: WINDOW - 1])
    assert " best" in epochs[WINDOW - 1]

"""Evaluation of the training set beside a validation set, told apart from samples in both."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.doctor.instruments.batch_inputs import Inputs
from danlu.doctor.instruments.evaluated import Batch, held_out
from danlu.doctor.watch import watch

TRAINED, HELD, BATCH = 160, 64, 16
PASSES: dict[str, tuple[list[Batch], float, int, int, range]] = {
    "validation": ([Batch(32, 0)] * 5, 1.0, 160, 800, range(5)),
    "a leak of a fifth": ([Batch(32, 6)] * 5, 1.0, 160, 800, range(5)),
    "a leak of all": ([Batch(32, 32)] * 5, 1.0, 160, 800, range(5)),
    "training set": ([Batch(32, 32)] * 25, 1.0, 800, 800, range(0)),
    "training set, a third of it checked": ([Batch(32, 10), Batch(32, 12)] * 12, 0.33, 800, 800, range(0)),
    "training set, then validation": ([Batch(32, 32)] * 25 + [Batch(32, 0)] * 5, 1.0, 960, 800, range(25, 30)),
    "validation, then training set": ([Batch(32, 1)] * 5 + [Batch(32, 16)] * 25, 0.5, 960, 800, range(5)),
    "training set, then a leak of a half": ([Batch(32, 32)] * 25 + [Batch(32, 16)] * 5, 1.0, 960, 800, range(25, 30)),
    "training set as a whole, validation not checked": ([Batch(800, 160)], 0.2, 960, 2400, range(0)),
    "both as a whole": ([Batch(800, 480), Batch(160, 0)], 0.6, 960, 800, range(1, 2)),
    "a slice that reaches into the training set": (
        *([Batch(32, 32)] * 3 + [Batch(32, 12)] + [Batch(32, 0)] * 5, 1.0, 288, 800, range(9)),
    ),
    "validation, then its part of the training set": (
        *([Batch(32, 0)] * 5 + [Batch(32, 20)] + [Batch(32, 32)] * 3, 1.0, 288, 800, range(9)),
    ),
    "some training samples, then validation": ([Batch(32, 32)] * 3 + [Batch(32, 0)] * 5, 1.0, 256, 800, range(3, 8)),
    "training set, then validation with a mixed pass": (
        *([Batch(32, 32)] * 25 + [Batch(32, 6)] + [Batch(32, 0)] * 4, 1.0, 960, 800, range(25, 30)),
    ),
    "the last class alone in both": ([Batch(32, 0)] * 5 + [Batch(32, 8)] * 2, 1.0, 224, 800, range(7)),
}


@pytest.mark.parametrize("name", PASSES)
def test_passes_over_the_training_set_are_not_held_out(name: str) -> None:
    batches, coverage, evaluated, trained, expected = PASSES[name]
    assert held_out(batches, coverage, evaluated, trained) == expected


def found(evaluated: dict[str, Tensor], epochs: int = 4) -> list[str]:
    """Codes after a training on the first samples of X that reports an accuracy of each of these sets."""
    torch.manual_seed(0)
    model = nn.Linear(8, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with watch(model, optimizer, F.cross_entropy) as doctor:
        for _ in range(epochs):
            for rows in torch.randperm(TRAINED).split(BATCH):
                optimizer.zero_grad()
                F.cross_entropy(model(X[rows]), Y[rows]).backward()
                optimizer.step()
            reported = {}
            for metric, rows in evaluated.items():
                with torch.no_grad():
                    right = sum(int((model(X[some]).argmax(1) == Y[some]).sum()) for some in rows.split(BATCH))
                reported[metric] = right / len(rows)
            doctor.epoch(**reported)
    return [one.code for one in doctor.findings]


X = torch.randn(TRAINED + HELD, 8, generator=torch.Generator().manual_seed(1))
Y = X[:, :3].argmax(1)
TRAINING, VALIDATION = torch.arange(TRAINED), torch.arange(TRAINED, TRAINED + HELD)


def test_the_accuracy_of_the_training_set_is_no_leak() -> None:
    assert "data.leak" not in found({"train_accuracy": TRAINING, "val_accuracy": VALIDATION})
    assert "data.leak" not in found({"val_accuracy": VALIDATION, "train_accuracy": TRAINING})
    assert "data.leak" not in found({"train_accuracy": TRAINING})


def test_training_samples_under_the_name_of_validation_are_a_leak() -> None:
    assert found({"val_accuracy": TRAINING})[:1] == ["data.leak"]


def test_the_hash_of_a_sample_does_not_depend_on_its_batch() -> None:
    inputs, rows = Inputs(), torch.randn(1400, 64, generator=torch.Generator().manual_seed(2))
    inputs.start(None)  # type: ignore[arg-type]
    whole = inputs._hash(rows, torch.float64)
    pairs = torch.cat([inputs._hash(two, torch.float64) for two in rows.split(2)])
    assert torch.equal(whole, pairs)
    assert whole.unique().numel() == len(rows)


@pytest.mark.parametrize("order", [("train", "held"), ("held", "train")])
def test_the_validation_loss_is_that_of_the_held_out_samples(order: tuple[str, str]) -> None:
    """A loop that evaluates both sets after each epoch has a validation loss of its own in every epoch."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    sets = {"train": torch.arange(TRAINED), "held": torch.arange(TRAINED, TRAINED + HELD)}
    expected = []
    with watch(model, optimizer, F.cross_entropy, quiet=True) as doctor:
        for _ in range(4):
            for rows in torch.randperm(TRAINED).split(BATCH):
                optimizer.zero_grad()
                F.cross_entropy(model(X[rows]), Y[rows]).backward()
                optimizer.step()
            with torch.no_grad():
                losses = {
                    name: [F.cross_entropy(model(X[some]), Y[some]) for some in sets[name].split(BATCH)]
                    for name in order
                }
            expected.append(float(torch.stack(losses["held"]).mean()))
    assert doctor.ledger.values("loss.mean", "val") == pytest.approx(expected, rel=1e-4)

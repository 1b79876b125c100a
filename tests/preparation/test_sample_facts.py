"""Names that findings of danlu's own trainings use: copied samples, doubtful labels, classes and columns."""

from __future__ import annotations

import torch

import danlu
from danlu.data.dataset import Dataset
from danlu.doctor.findings.data.duplicates import duplicates
from danlu.doctor.findings.data.label_noise import names_text
from danlu.doctor.findings.data.not_normalised import not_normalised
from danlu.doctor.ledger import Ledger
from danlu.doctor.wording import worded
from danlu.engine.doctor_watcher import suspects
from danlu.preparation.sample_facts import copies
from danlu.tasks.task import Evaluation


def test_copies_are_equal_samples_among_those_to_compare() -> None:
    images = torch.randint(0, 256, (20, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images[7] = images[2]
    images[15] = images[2]
    images[19] = images[0]
    assert copies(images, torch.arange(16)) == [(2, 7), (2, 15)]
    assert copies(images.float(), torch.tensor([19, 0, 5])) == [(19, 0)]
    assert copies(images, torch.arange(3, 7)) == []


def test_suspects_have_another_class_with_confidence() -> None:
    outputs = torch.tensor([[4.0, 0.0, 0.0], [0.0, 6.0, 0.0], [0.0, 0.2, 0.0], [5.0, 0.0, 0.0]])
    seen = Evaluation(outputs, torch.tensor([1, 2, 0, 0]), torch.tensor([5, 3, 8, 9]))
    names = ("cat", "dog", "hen")
    data = Dataset("x", "folder", "classify", torch.zeros(10, 2), torch.zeros(10), names, name_of="{}.jpg".format)
    assert suspects(seen, data) == ["3.jpg (hen: dog?)", "5.jpg (dog: cat?)"]  # 0.995, then 0.965; the others agree


def test_findings_name_copies_samples_and_columns() -> None:
    ledger = Ledger()
    for name, value, where in [
        ("input.hashed", 100, "train"),
        ("input.repeated", 0.2, "train"),
        ("input.copies", ["a.jpg = b.jpg"], ""),
        ("epoch.samples", 100, "train"),
        ("input.mean", 900.0, "train"),
        ("input.std", 1e3, "train"),
        ("input.feature_stds", [1e3, 2.0], "train"),
        ("input.columns", ["income", "age"], ""),
    ]:
        ledger.add(name, value, where, 1)
    (found,) = duplicates(ledger)
    assert "For example: a.jpg = b.jpg." in worded(found).cause
    (found,) = not_normalised(ledger)
    assert "Column income has a standard deviation of 1000, column age one of 2." in worded(found).cause
    assert "look first at a.jpg (cat: dog?)" in str(names_text(["a.jpg (cat: dog?)"]))


def test_watch_takes_the_names_of_columns_and_classes() -> None:
    network = torch.nn.Linear(3, 2)
    doctor = danlu.watch(network, classes=["no", "yes"], columns=["income", "age", "rooms"])
    assert doctor.ledger.facts("class.name") == {"0": "no", "1": "yes"}
    assert doctor.ledger.last("input.columns") == ["income", "age", "rooms"]

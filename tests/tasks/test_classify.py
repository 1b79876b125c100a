import base64

import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss
from torch import nn

from danlu.config import LossConfig
from danlu.data.batches import Batch
from danlu.learning.losses import build_loss
from danlu.tasks.classify import Classify, predicted_class, probabilities
from danlu.tasks.task import Evaluation

CLASSES = ("ant", "bee", "cat")


@pytest.fixture
def task() -> Classify:
    return Classify(CLASSES, build_loss(LossConfig(name="cross-entropy"), torch.tensor([1, 1, 1]), "classify"))


@pytest.fixture
def said() -> Evaluation:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(60, 3, generator=generator) * 2
    targets = torch.randint(0, 3, (60,), generator=generator)
    return Evaluation(outputs, targets, torch.arange(100, 160))


def test_metrics_agree_with_scikit_learn(task, said):
    found = task.metrics(said)
    probabilities, guessed = said.outputs.softmax(1).numpy(), said.outputs.argmax(1).numpy()
    assert next(iter(found)) == "loss"
    assert found["loss"] == pytest.approx(log_loss(said.targets, probabilities), rel=1e-5)
    assert found["accuracy"] == pytest.approx(accuracy_score(said.targets, guessed))
    assert found["f1"] == pytest.approx(f1_score(said.targets, guessed, average="macro"))
    assert found["top5"] == 1
    assert all(type(value) is float for value in found.values())


def test_the_loss_of_a_batch_is_the_mean_and_carries_the_gradient(task):
    model = nn.Linear(4, 3)
    inputs, targets = torch.randn(5, 4), torch.tensor([0, 1, 2, 1, 0])
    parts = task.loss(model, Batch(inputs, targets, torch.arange(5), 5, 1.0))
    torch.testing.assert_close(parts["loss"], nn.functional.cross_entropy(model(inputs), targets))
    parts["loss"].backward()
    assert model.weight.grad is not None
    assert parts["accuracy"] == (model(inputs).argmax(1) == targets).float().mean()
    assert not parts["accuracy"].requires_grad


def test_mixed_labels_count_as_their_most_probable_class(task):
    model = nn.Identity()
    outputs = torch.tensor([[5.0, 0, 0], [0, 5.0, 0]])
    mixed = torch.tensor([[0.7, 0.3, 0], [0.6, 0.4, 0]])
    parts = task.loss(model, Batch(outputs, mixed, torch.arange(2), 2, 1.0))
    assert parts["accuracy"] == 0.5
    torch.testing.assert_close(parts["loss"], nn.functional.cross_entropy(outputs, mixed))


def test_views_are_combined_by_the_mean_of_their_probabilities(task):
    first, second = torch.randn(4, 3), torch.randn(4, 3)
    wanted = (first.softmax(1) + second.softmax(1)) / 2
    torch.testing.assert_close(task.combine([first, second]).softmax(1), wanted)


def test_one_output_is_the_positive_class():
    outputs = torch.tensor([[-1.0], [2.0]])
    torch.testing.assert_close(probabilities(outputs)[:, 1], torch.sigmoid(outputs[:, 0]))
    torch.testing.assert_close(probabilities(outputs).sum(1), torch.ones(2))
    assert predicted_class(outputs).tolist() == [0, 1]


def test_details_name_the_most_confident_mistakes_first(task, said):
    found = task.details(said, lambda i: f"image {i}", lambda i: base64.b64encode(bytes([i])).decode())
    guessed = said.outputs.argmax(1)
    assert found["confusion"] == confusion_matrix(said.targets, guessed).tolist()
    assert [row["name"] for row in found["per_class"]] == list(CLASSES)
    confidences = [row["confidence"] for row in found["mistakes"]]
    assert confidences == sorted(confidences, reverse=True)
    wrong = {f"image {100 + i}" for i in (guessed != said.targets).nonzero().flatten().tolist()}
    assert {row["name"] for row in found["mistakes"]} <= wrong
    assert all(row["true"] != row["said"] for row in found["mistakes"])
    worst = said.outputs.softmax(1).amax(1)[guessed != said.targets].max()
    assert confidences[0] == pytest.approx(worst.item())

import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from torch import nn

from danlu.config import LossConfig
from danlu.data.batches import Batch
from danlu.learning.losses import build_loss
from danlu.tasks.regress import MAX_POINTS_SHOWN, Regress
from danlu.tasks.task import Evaluation

MEAN, STD = 200.0, 50.0


@pytest.fixture
def task() -> Regress:
    return Regress(build_loss(LossConfig(name="squared"), None, "regress"), torch.tensor([MEAN]), torch.tensor([STD]))


@pytest.fixture
def said() -> Evaluation:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(50, 1, generator=generator)
    return Evaluation(targets + 0.3 * torch.randn(50, 1, generator=generator), targets, torch.arange(50))


def test_metrics_are_in_the_users_units_and_the_loss_is_what_is_trained(task, said):
    found = task.metrics(said)
    true, guessed = said.targets * STD + MEAN, said.outputs * STD + MEAN
    assert found["r2"] == pytest.approx(r2_score(true, guessed), rel=1e-5)
    assert found["mae"] == pytest.approx(mean_absolute_error(true, guessed), rel=1e-5)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(true, guessed), rel=1e-5)
    assert found["loss"] == pytest.approx((said.outputs - said.targets).square().mean().item() / 2, rel=1e-5)


def test_the_loss_of_a_batch_is_the_mean_over_its_samples(task):
    model = nn.Linear(3, 1)
    inputs, targets = torch.randn(6, 3), torch.randn(6, 1)
    parts = task.loss(model, Batch(inputs, targets, torch.arange(6), 6, 1.0))
    torch.testing.assert_close(parts["loss"], (model(inputs) - targets).square().mean() / 2)


def test_views_are_averaged(task):
    torch.testing.assert_close(task.combine([torch.ones(2, 1), 3 * torch.ones(2, 1)]), 2 * torch.ones(2, 1))


def test_details_show_points_in_units_and_the_worst_first(task, said):
    found = task.details(said, lambda i: f"row {i}", lambda i: "")
    assert torch.tensor(found["scatter"])[:, 0] == pytest.approx((said.targets[:, 0] * STD + MEAN).numpy())
    errors = [abs(row["predicted"] - row["true"]) for row in found["worst"]]
    assert errors == sorted(errors, reverse=True)
    worst = int((said.outputs - said.targets).abs().argmax())
    assert found["worst"][0]["name"] == f"row {worst}"
    many = Evaluation(torch.randn(5001, 1), torch.randn(5001, 1), torch.arange(5001))
    assert len(task.details(many, str, lambda i: "")["scatter"]) <= MAX_POINTS_SHOWN

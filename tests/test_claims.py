"""The lecture notes' worked examples, by danlu's own code. Where the notes err, the test says so and holds the right one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

import danlu
from danlu.config import AugmentConfig, DataConfig, LossConfig, OptimConfig
from danlu.data.augment import Augment
from danlu.data.dataset import Dataset
from danlu.data.split import folds
from danlu.losses import build_loss
from danlu.optim import build_optimizer
from danlu.prepare import prepare

QUIET = Console(quiet=True)


# Gradient descent by hand: y = a x on the one sample x = 2, y = 4.


def test_a_slope_found_by_gradient_descent() -> None:
    a = nn.Parameter(torch.tensor([[1.0]]))
    model = nn.Linear(1, 1, bias=False)
    model.weight = a
    optimizer = build_optimizer(model, OptimConfig(name="sgd", lr=0.1, weight_decay=0.0))
    seen = []
    for _ in range(3):
        error = model(torch.tensor([[2.0]])) - 4.0
        loss = error.square().sum()
        optimizer.zero_grad()
        loss.backward()
        seen.append((loss.item(), a.grad.item()))  # type: ignore[union-attr]
        optimizer.step()
    losses, gradients = zip(*seen)
    assert losses == pytest.approx((4.0, 0.16, 0.0064), rel=1e-4)
    assert gradients == pytest.approx((-8.0, -1.6, -0.32), rel=1e-4)
    assert a.item() == pytest.approx(1.992, abs=1e-6)


def test_without_a_rate_the_first_step_overshoots() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    (model(torch.tensor([[2.0]])) - 4.0).square().sum().backward()
    build_optimizer(model, OptimConfig(name="sgd", lr=1.0, weight_decay=0.0)).step()
    assert model.weight.item() == 9.0


def test_trying_every_direction_doubles_with_each_parameter() -> None:
    assert pytest.approx(10.24) == 2**10 * 0.010  # seconds, for 10 parameters at 10 ms each


# Linear regression.


def test_gradient_of_linear_regression() -> None:
    """d (1/2n) |y - Xw|^2 / dw = -(1/n) (y - Xw)^T X; the notes drop the sign."""
    x, y, w = torch.randn(20, 3), torch.randn(20, 1), torch.randn(3, 1, requires_grad=True)
    build_loss(LossConfig(name="squared"))(x @ w, y).mean().backward()
    expected = -(y - x @ w.detach()).T @ x / len(x)
    torch.testing.assert_close(w.grad, expected.T)


def test_sgd_reaches_the_closed_form(tmp_path: Path) -> None:
    """w* = (X^T X)^-1 X^T y; the notes drop a transpose."""
    rng = np.random.default_rng(0)
    x = rng.normal([1.0, -2.0, 5.0], [1.0, 2.0, 0.5], size=(400, 3))
    y = x @ [2.0, -1.0, 3.0] + 4.0 + rng.normal(0, 0.5, 400)
    table = pandas.DataFrame(x, columns=["a", "b", "c"]).assign(y=y)
    table.to_csv(tmp_path / "table.csv", index=False)
    run = danlu.train(
        tmp_path / "table.csv", target="y", model="linear", optimizer="sgd", lr=0.1, schedule="constant", epochs=150,
        batch_size=300, val=0, test=100, optim={"weight_decay": 0}, out=tmp_path / "run", console=QUIET,
    )  # fmt: skip
    predicted = np.array([row["value"] for row in run.predict(table.drop(columns="y"))])
    design = np.column_stack([np.ones(400), x])
    found = np.linalg.lstsq(design, predicted, rcond=None)[0]  # predictions are linear in x: read the weights off them
    prepared = prepare(run.config)
    train = prepared.split.train.numpy()
    closed = np.linalg.inv(design[train].T @ design[train]) @ design[train].T @ y[train]
    np.testing.assert_allclose(found, closed, atol=1e-3)


def test_the_rate_decides_between_standstill_convergence_and_oscillation() -> None:
    def errors(rate: float) -> list[float]:
        a, seen = 1.0, []
        for _ in range(20):
            a -= rate * 2 * (2 * a - 4) * 2
            seen.append(a - 2)
        return seen

    assert abs(errors(1e-4)[-1]) > 0.95
    assert abs(errors(0.1)[-1]) < 1e-9
    assert all(e * f < 0 and abs(f) > abs(e) for e, f in zip(errors(0.26), errors(0.26)[1:]))


def test_gradient_of_a_batch_is_the_mean_over_its_samples() -> None:
    model, x, y = nn.Linear(3, 1), torch.randn(20, 3), torch.randn(20, 1)
    loss = build_loss(LossConfig(name="squared"))

    def gradient(rows: slice) -> Tensor:
        model.zero_grad()
        loss(model(x[rows]), y[rows]).mean().backward()
        return model.weight.grad.clone()  # type: ignore[union-attr]

    each = torch.stack([gradient(slice(i, i + 1)) for i in range(20)])
    torch.testing.assert_close(gradient(slice(0, 20)), each.mean(0))


# Losses.


def test_gradient_of_cross_entropy_by_the_logits() -> None:
    logits, targets = torch.randn(8, 5, requires_grad=True), torch.randint(0, 5, (8,))
    build_loss(LossConfig(name="cross-entropy"))(logits, targets).sum().backward()
    torch.testing.assert_close(logits.grad, (logits.softmax(1) - nn.functional.one_hot(targets, 5)).detach())


def test_squared_absolute_and_huber() -> None:
    error = torch.tensor([[0.0], [0.5], [1.0], [-3.0]])

    def of(name: str) -> list[float]:
        return build_loss(LossConfig(name=name))(error, torch.zeros(4, 1)).tolist()  # type: ignore[arg-type]

    assert of("squared") == [0.0, 0.125, 0.5, 4.5]
    assert of("absolute") == [0.0, 0.5, 1.0, 3.0]
    assert of("huber") == [0.0, 0.125, 0.5, 2.5]  # the square up to |error| = 1, then a line


# Optimisers, from their formulas.


def momentum(g: Tensor, state: dict, t: int) -> Tensor:
    state["m"] = 0.9 * state.get("m", 0) + g
    return 0.1 * state["m"]


def adagrad(g: Tensor, state: dict, t: int) -> Tensor:
    state["s"] = state.get("s", 0) + g**2
    return 0.1 * g / (state["s"].sqrt() + 1e-8)


def rmsprop(g: Tensor, state: dict, t: int) -> Tensor:
    state["s"] = 0.99 * state.get("s", 0) + 0.01 * g**2
    return 0.1 * g / (state["s"].sqrt() + 1e-8)


def adam(g: Tensor, state: dict, t: int) -> Tensor:
    state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
    state["s"] = 0.999 * state.get("s", 0) + 0.001 * g**2
    return 0.1 * (state["m"] / (1 - 0.9**t)) / ((state["s"] / (1 - 0.999**t)).sqrt() + 1e-8)


@pytest.mark.parametrize("rule", [momentum, adagrad, rmsprop, adam])
def test_optimisers_follow_their_formulas(rule) -> None:
    model = nn.Linear(4, 3, bias=False)
    optimizer = build_optimizer(model, OptimConfig(name=rule.__name__, lr=0.1, weight_decay=0.0))
    weights, state = model.weight.detach().clone(), {}
    for t in range(1, 6):
        gradient = torch.randn(3, 4)
        model.weight.grad = gradient.clone()
        optimizer.step()
        weights -= rule(gradient, state, t)
        torch.testing.assert_close(model.weight.detach(), weights, rtol=1e-5, atol=1e-6)


def test_weight_decay_shrinks_weights_and_spares_biases() -> None:
    """w <- (1 - eta lambda) w - eta gradient."""
    model = nn.Linear(4, 3)
    optimizer = build_optimizer(model, OptimConfig(name="sgd", lr=0.1, weight_decay=0.5))
    weight, bias = model.weight.detach().clone(), model.bias.detach().clone()
    model.weight.grad, model.bias.grad = torch.ones(3, 4), torch.ones(3)
    optimizer.step()
    torch.testing.assert_close(model.weight.detach(), (1 - 0.1 * 0.5) * weight - 0.1)
    torch.testing.assert_close(model.bias.detach(), bias - 0.1)


# Dropout, folds, augmentation.


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_dropout_keeps_the_mean_and_not_the_variance(p: float) -> None:
    """The notes say that the variance is kept too: it grows by x^2 p / (1 - p)."""
    torch.manual_seed(0)
    x = 3.0
    layer = nn.Dropout(p)
    seen = layer(torch.full((400_000,), x))
    assert seen.mean().item() == pytest.approx(x, rel=0.01)
    assert seen.var().item() == pytest.approx(x**2 * p / (1 - p), rel=0.01)
    assert torch.equal(layer.eval()(torch.full((5,), x)), torch.full((5,), x))


def test_every_sample_validates_once_in_k_folds() -> None:
    data = Dataset("made", "made", "classify", torch.zeros(100, 2), torch.arange(100) % 4, ("a", "b", "c", "d"))
    parts = folds(data, DataConfig(folds=5, test=20), seed=0)
    test = set(parts[0].test.tolist())
    validated = [i for part in parts for i in part.val.tolist()]
    assert len(parts) == 5
    assert sorted(validated) == sorted(set(range(100)) - test)
    assert all(set(part.test.tolist()) == test for part in parts)
    assert all(not set(part.train.tolist()) & (set(part.val.tolist()) | test) for part in parts)


def test_colour_jitter_keeps_the_mean_and_widens_the_variance() -> None:
    config = AugmentConfig(preset="none", brightness=0.5, contrast=0.5)
    augment = Augment(config, size=8, channels=3, classes=2, mean=[0.0] * 3, std=[1.0] * 3)
    pictures = torch.full((4000, 3, 8, 8), 90, dtype=torch.uint8)
    pictures[:, :, ::2] = 110
    seen, _ = augment(pictures, None, torch.zeros(4000, dtype=torch.long), augment.draw(np.random.default_rng(0), 4000))
    plain = pictures.float() / 255
    assert seen.mean().item() == pytest.approx(plain.mean().item(), rel=0.02)
    assert seen.var().item() > 4 * plain.var().item()


# The notes' own training script.


def test_hits_over_batches_times_batch_size_is_wrong_by_the_last_batch() -> None:
    samples, batch = 1000, 128
    batches = math.ceil(samples / batch)
    hits = 900
    assert hits / (batches * batch) == pytest.approx(hits / samples * samples / (batches * batch))
    assert hits / (batches * batch) < hits / samples - 0.02


def test_accuracy_counts_samples_whatever_the_last_batch(tmp_path: Path) -> None:
    """Training accuracy of an epoch: the share of samples, with a last batch of 57 instead of 100."""
    run = danlu.train(
        "digits", model="mlp", epochs=1, batch_size=100, lr=1e-9, optimizer="sgd", schedule="constant",
        augment="none", out=tmp_path / "run", console=QUIET,
    )  # fmt: skip
    row = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    train = run.evaluate(part="train", weights="last")["metrics"]["train"]  # the rate moved nothing
    assert row["train.accuracy"] == pytest.approx(train["accuracy"], abs=1e-6)
    assert row["train.loss"] == pytest.approx(train["loss"], rel=1e-5)

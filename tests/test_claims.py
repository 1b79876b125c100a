"""Worked examples of the lecture notes, with danlu's code. If the notes are wrong, the test checks the correct claim."""

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
from danlu.config import AugmentConfig, DataConfig, LossConfig, ModelConfig, OptimConfig
from danlu.data.augmentation.augment import Augment
from danlu.data.dataset import Dataset
from danlu.data.split import folds
from danlu.learning.losses import build_loss
from danlu.learning.optim import build_optimizer
from danlu.learning.sparse import largest_two, sparsify
from danlu.models.network_table import build_model
from danlu.models.networks.perceptron import learn
from danlu.preparation.prepare import prepare

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


def test_first_step_without_warmup_overshoots() -> None:
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


def test_lr_decides_between_stall_convergence_and_oscillation() -> None:
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


# The perceptron (its rule and bound: tests/models/test_perceptron.py).

SQUARE = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


def test_two_lines_and_an_and_solve_xor() -> None:
    """A single line cannot; OR, NAND and the AND of their outputs are one line each."""
    said = [learn(SQUARE, torch.tensor(y)) for y in ([-1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, -1.0])]
    sides = torch.stack([(SQUARE @ line.weights + line.bias > 0).float() for line in said], dim=1)
    both = learn(sides, torch.where(sides.all(1), 1.0, -1.0))
    assert all(line.converged for line in (*said, both))
    assert (sides @ both.weights + both.bias > 0).tolist() == [False, True, True, False]


def test_a_line_in_the_plane_shatters_three_points_and_not_four() -> None:
    """VC dimension of a perceptron of N inputs: N + 1."""

    def learnable(points: Tensor) -> list[bool]:
        labels = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * len(points))
        return [learn(points, y, passes=200).converged for y in labels]

    assert all(learnable(SQUARE[:3]))
    assert learnable(SQUARE).count(False) == 2  # XOR and its opposite


# Losses.


def test_binary_cross_entropy_is_the_mean_over_its_samples() -> None:
    """-1/N sum of y log p + (1 - y) log(1 - p) over the same N; a note prints 1/M."""
    outputs, y = torch.randn(7, 1), torch.tensor([0, 1, 1, 0, 1, 0, 0])
    p = outputs[:, 0].sigmoid()
    expected = -(y * p.log() + (1 - y) * (1 - p).log()).sum() / 7
    torch.testing.assert_close(build_loss(LossConfig(name="binary-cross-entropy"))(outputs, y).mean(), expected)


def test_gradients_of_a_two_layer_net_with_a_sigmoid_output() -> None:
    """dz2 = p - y, dW2 = dz2^T a / m, db2 = mean dz2, dz1 = (dz2 W2) (1 - a^2), dW1 = dz1^T x / m, by danlu's own net."""
    x, y, m = torch.randn(12, 3), torch.randint(0, 2, (12,)), 12
    model = build_model("mlp", inputs=3, classes=1, width=(4,), activation="tanh")
    build_loss(LossConfig(name="binary-cross-entropy"))(model(x), y).mean().backward()
    first, second = (layer for layer in model.modules() if isinstance(layer, nn.Linear))
    with torch.no_grad():
        a = torch.tanh(first(x))
        dz2 = second(a).sigmoid() - y[:, None]
        dz1 = (dz2 @ second.weight) * (1 - a**2)
    for layer, dz, seen in ((second, dz2, a), (first, dz1, x)):
        torch.testing.assert_close(layer.weight.grad, dz.T @ seen / m)
        torch.testing.assert_close(layer.bias.grad, dz.mean(0))


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


# Dropout, evaluation, pruned weights, folds, augmentation.


def test_evaluation_mode_stops_dropout_and_not_gradients() -> None:
    """A note says that eval() stops gradients; torch.no_grad() does."""
    model, x = build_model("mlp", inputs=4, classes=2, dropout=0.5).eval(), torch.randn(8, 4)
    assert torch.equal(model(x), model(x))
    assert model(x).requires_grad
    with torch.no_grad():
        assert not model(x).requires_grad
    model.train()
    assert not torch.equal(model(x), model(x))


def test_pruned_weights_take_no_part_and_the_survivors_train_on() -> None:
    """2:4 sparsity: pruned weights do not affect outputs, get no gradient and stay zero; the others are trained."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2)), torch.rand(16, 8)
    dense = model[0].weight.detach().clone()
    sparsify(model, ModelConfig(sparse="2:4"))
    kept = largest_two(dense)
    assert kept.view(6, 2, 4).sum(2).eq(2).all()
    torch.testing.assert_close(model[0](x), x @ (dense * kept).T + model[0].bias)
    optimizer = build_optimizer(model, OptimConfig(name="sgd", lr=0.1, weight_decay=0.0))
    model(x).square().sum().backward()
    gradient = model[0].parametrizations.weight.original.grad
    assert not gradient[~kept].any()
    optimizer.step()
    alive = gradient[kept] != 0
    assert alive.any()
    assert torch.equal(model[0].weight[kept] != dense[kept], alive)
    assert not model[0].weight[~kept].any()


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
    images = torch.full((4000, 3, 8, 8), 90, dtype=torch.uint8)
    images[:, :, ::2] = 110
    seen, _ = augment(images, None, torch.zeros(4000, dtype=torch.long), augment.draw(np.random.default_rng(0), 4000))
    plain = images.float() / 255
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
    """Training accuracy of an epoch: the fraction of correct samples, with a last batch of 57 instead of 100."""
    run = danlu.train(
        "digits", model="mlp", epochs=1, batch_size=100, lr=1e-9, optimizer="sgd", schedule="constant",
        augment="none", out=tmp_path / "run", console=QUIET,
    )  # fmt: skip
    row = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    train = run.evaluate(part="train", weights="last")["metrics"]["train"]  # the rate moved nothing
    assert row["train.accuracy"] == pytest.approx(train["accuracy"], abs=1e-6)
    assert row["train.loss"] == pytest.approx(train["loss"], rel=1e-5)


# Depth: products over layers, and the initialisations that keep a scale.


def test_products_over_depth_leave_every_half_precision() -> None:
    products = [1.5**100, 0.8**100]
    assert products == pytest.approx([4.07e17, 2.04e-10], rel=1e-2)
    half = torch.finfo(torch.float16)
    assert half.tiny == pytest.approx(6.1e-5, rel=1e-2)
    assert half.max == 65504
    grown, faded = torch.tensor(products).half()
    assert grown.isinf()
    assert faded == 0


def test_sigmoid_passes_at_most_a_quarter_and_next_to_nothing_beyond_six() -> None:
    x = torch.tensor([0.0, 6.0, -6.0], requires_grad=True)
    x.sigmoid().sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == pytest.approx([0.25, 0.002467, 0.002467], rel=1e-3)


@pytest.mark.parametrize(("given", "wanted"), [(400, 400), (100, 600), (600, 100)])
def test_initialisation_preserves_variance_in_both_directions(given: int, wanted: int) -> None:
    """Variance factors of y = x W^T with variance gamma of W: n_in gamma forward, n_out gamma backward; Xavier averages them."""
    torch.manual_seed(0)
    gamma = 2 / (given + wanted)
    weight = torch.empty(wanted, given)
    torch.nn.init.xavier_uniform_(weight)
    assert weight.abs().max() == pytest.approx(math.sqrt(6 / (given + wanted)), rel=1e-2)
    assert weight.var() == pytest.approx(gamma, rel=0.03)
    x = torch.randn(2000, given, requires_grad=True)
    y = x @ weight.T
    assert y.var().item() == pytest.approx(given * gamma, rel=0.05)
    (x_gradient,) = torch.autograd.grad(y, x, torch.randn_like(y))
    assert x_gradient.var().item() == pytest.approx(wanted * gamma, rel=0.05)


def _factors(std: float | None, depth: int = 20, width: int = 128) -> tuple[float, float]:
    """Factors per ReLU layer of outputs and gradients, for a standard deviation of the weights or He initialisation."""
    torch.manual_seed(0)
    x, outputs = torch.randn(256, width, dtype=torch.float64), []  # squares of what is left leave single precision
    for _ in range(depth):
        weight = torch.randn(width, width, dtype=torch.float64) * (math.sqrt(2 / width) if std is None else std)
        x = (x.relu() if outputs else x) @ weight.T.requires_grad_()
        x.retain_grad()
        outputs.append(x)
    (x * torch.randn_like(x)).sum().backward()
    forward = outputs[-1].square().mean() / outputs[0].square().mean()
    backward = outputs[0].grad.square().mean() / outputs[-1].grad.square().mean()
    return forward.item() ** (0.5 / (depth - 1)), backward.item() ** (0.5 / (depth - 1))


def test_a_deviation_of_a_hundredth_fades_by_a_constant_factor_per_layer() -> None:
    """0.01 is suitable for two layers, but vanishes after twenty: 0.08^20 = 1e-22."""
    assert _factors(0.01) == pytest.approx((0.01 * math.sqrt(128 / 2),) * 2, rel=0.05)
    assert _factors(None) == pytest.approx((1, 1), rel=0.05)

"""Mistakes found in questions on forums: losses and dropout as functions, schedules that grow, labels under other numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from test_handwriting import found_in
from test_rules import written
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from danlu.doctor.derived.rate_growth import lost_as_rate_grew
from danlu.doctor.diagnose import diagnose
from danlu.doctor.finding import Finding
from danlu.doctor.findings.data.duplicates import duplicates
from danlu.doctor.findings.data.labels_missing import labels_missing
from danlu.doctor.findings.data.labels_renumbered import labels_renumbered
from danlu.doctor.findings.data.targets_not_scaled import targets_not_scaled
from danlu.doctor.findings.gradient.vanishing import vanishing
from danlu.doctor.findings.model.bad_init import bad_init
from danlu.doctor.findings.model.output_mismatch import output_mismatch
from danlu.doctor.findings.model.too_small import too_small
from danlu.doctor.findings.optim.weight_decay_too_strong import weight_decay_too_strong
from danlu.doctor.ledger import Ledger
from danlu.doctor.loss.by_hand import residual_targets
from danlu.doctor.loss.graph import dropout_after_layer, last_activation
from danlu.doctor.observation.predictions import measured
from danlu.doctor.script.program import ProgramDoctor

CLASSES = 4


def samples(n: int = 320) -> tuple[Tensor, Tensor]:
    """Four classes, each with a mean of its own."""
    torch.manual_seed(0)
    y = torch.randint(0, CLASSES, (n,))
    return torch.randn(n, 8) + 3 * F.one_hot(y, 8), y


def codes(found: Iterable[Finding]) -> list[str]:
    return [one.code for one in found]


def ledger_of(program: Callable[[], None]) -> Ledger:
    """Run a program under the doctor and return the ledger of its only training."""
    with ProgramDoctor(say=lambda line: None) as doctor:
        program()
    (training,) = doctor.trainings
    return training.ledger


# Losses and outputs.


@pytest.mark.parametrize("power", [lambda d: d**2, torch.abs, torch.square])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_targets_of_an_error_by_hand_are_read_from_its_graph(power: Callable[[Tensor], Tensor], sign: int) -> None:
    outputs, y = nn.Linear(3, 2)(torch.randn(5, 3)), torch.randn(5, 2)
    loss = power(outputs - y if sign > 0 else y - outputs).mean()
    found = residual_targets(loss.grad_fn, outputs.grad_fn, outputs)
    assert found is not None
    assert torch.allclose(found, y, atol=1e-6)


def test_a_penalty_on_something_else_has_no_targets() -> None:
    layer = nn.Linear(3, 2)
    outputs = layer(torch.randn(5, 3))
    loss = outputs.exp().mean() + ((layer.weight - 1) ** 2).sum()
    assert residual_targets(loss.grad_fn, outputs.grad_fn, outputs) is None


@pytest.mark.parametrize(("low", "found"), [(-1.5, ["model.output_mismatch"]), (0.1, [])])
def test_a_relu_cannot_give_negative_targets_of_an_error_by_hand(low: float, found: list[str]) -> None:
    def training() -> None:
        torch.manual_seed(0)
        x = torch.randn(64, 6)
        y = x[:, :2].abs() + low
        model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2), nn.ReLU())
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(30):
            optimizer.zero_grad()
            ((model(x) - y) ** 2).mean().backward()
            optimizer.step()

    assert codes(output_mismatch(ledger_of(training))) == found


def test_probabilities_that_are_clamped_are_probabilities() -> None:
    scores = nn.Linear(3, 1)(torch.randn(5, 3))
    assert (last_activation(scores.sigmoid().clamp(1e-7, 1 - 1e-7)[:, 0].grad_fn) or [""])[0] == "sigmoid"
    assert last_activation(scores.clamp(0, 1).grad_fn) is None


@pytest.mark.parametrize(
    ("end", "rate"),
    [
        (lambda x: F.dropout(x, 0.5), 0.5),
        (lambda x: F.dropout(x, 0.2), 0.2),
        (lambda x: F.dropout(x, 0.5, training=False), None),
        (lambda x: x * (torch.rand_like(x) > 0.5), None),  # a mask that does not scale the others
        (lambda x: F.dropout(x.relu(), 0.5), None),
    ],
)
def test_dropout_of_the_outputs_as_a_function_is_found(end: Callable[[Tensor], Tensor], rate: float | None) -> None:
    torch.manual_seed(0)
    outputs = end(nn.Linear(8, 10)(torch.randn(64, 8)))
    found = dropout_after_layer(outputs.grad_fn)
    assert found == (pytest.approx(rate, abs=1e-6) if rate else None)


def test_features_are_not_the_scores_that_a_head_with_its_own_optimiser_gives_to_the_loss() -> None:
    def training() -> None:
        x, y = samples()
        body, head = nn.Sequential(nn.Linear(8, 16), nn.ReLU()), nn.Linear(16, CLASSES)
        of_body, of_head = torch.optim.SGD(body.parameters(), 0.05), torch.optim.Adam(head.parameters(), 1e-2)
        for i in range(60):
            batch = slice(i % 10 * 32, i % 10 * 32 + 32)
            loss = F.cross_entropy(head(body(x[batch])), y[batch])
            of_body.zero_grad()
            of_head.zero_grad()
            loss.backward()
            of_body.step()
            of_head.step()

    assert "model.output_mismatch" not in found_in(training)


# Labels and targets.


def validation(order: list[int], *, moved: float = 0.9, counts: int = 40, fitted: float = 0.95) -> list[tuple]:
    """A run whose validation samples of class k are predicted as order[k], by a fraction; the others rightly."""
    rows = [[guess, moved, counts] for guess in order]
    return [("class.taken_for", rows, "val"), ("accuracy.mean", fitted, "train"), ("accuracy.mean", 0.1, "val")]


@pytest.mark.parametrize(
    ("records", "found"),
    [
        (validation([1, 2, 3, 0]), True),
        (validation([1, 0, 2, 3]), True),  # two classes swapped
        (validation([0, 1, 2, 3]), False),
        (validation([1, 1, 2, 3]), False),  # one class is never predicted
        (validation([1, 2, 3, 0], moved=0.4), False),
        (validation([1, 2, 3, 0], counts=3), False),
        (validation([1, 2, 3, 0], fitted=0.3), False),  # nothing was learnt that could be told from a numbering
    ],
)
def test_validation_labels_under_other_numbers_are_told_from_errors(records: list[tuple], found: bool) -> None:
    assert codes(labels_renumbered(written(*records))) == (["data.labels_renumbered"] if found else [])


def test_pairs_of_label_and_prediction_are_counted_only_where_asked() -> None:
    outputs, labels = F.one_hot(torch.tensor([1, 1, 0, 2]), 3) * 5.0, torch.tensor([0, 0, 0, 2])
    assert "pairs" not in measured(outputs, labels)
    assert measured(outputs, labels, pairs=True)["pairs"].tolist() == [[1, 2, 0], [0, 0, 0], [0, 0, 1]]


def test_a_validation_set_with_another_order_of_classes_is_named_first() -> None:
    def training() -> None:
        x, y = samples()
        model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, CLASSES))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(4):
            for batch in torch.arange(240).split(16):
                optimizer.zero_grad()
                F.cross_entropy(model(x[batch]), y[batch]).backward()
                optimizer.step()
            with torch.no_grad():
                F.cross_entropy(model(x[240:]), (y[240:] + 1) % CLASSES)

    assert next(iter(found_in(training))) == "data.labels_renumbered"


@pytest.mark.parametrize(("value", "found"), [(0.0, ["data.labels_missing"]), (None, [])])
def test_targets_that_are_all_the_same_are_found_before_a_sigmoid(value: float | None, found: list[str]) -> None:
    def training() -> None:
        x, y = samples()
        targets = (y > 1).float() if value is None else torch.full((len(y),), value)
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for i in range(80):
            batch = slice(i % 10 * 32, i % 10 * 32 + 32)
            optimizer.zero_grad()
            F.binary_cross_entropy(model(x[batch])[:, 0], targets[batch]).backward()
            optimizer.step()

    assert codes(labels_missing(ledger_of(training))) == found


@pytest.mark.parametrize(("std", "weight", "found"), [(6e4, 1.0, True), (1.0, 1.0, False), (6e4, 1e-12, False)])
def test_a_second_loss_on_large_targets_drowns_the_first(std: float, weight: float, found: bool) -> None:
    def training() -> None:
        x, y = samples()
        price = std * torch.randn(len(x))
        body, kind, value = nn.Linear(8, 16), nn.Linear(16, CLASSES), nn.Linear(16, 1)
        model = nn.ModuleList([body, kind, value])
        model.forward = lambda x: (kind(body(x).relu()), value(body(x).relu())[:, 0])  # type: ignore[method-assign]
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
        for i in range(60):
            batch = slice(i % 10 * 32, i % 10 * 32 + 32)
            scores, guess = model(x[batch])
            loss = F.cross_entropy(scores, y[batch]) + weight * F.mse_loss(guess, price[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    assert codes(targets_not_scaled(ledger_of(training))) == (["data.targets_not_scaled"] if found else [])


# Steps and epochs.

FALLEN = [2.3] * 12 + [1.0] * 12 + [0.2] * 24


def rates(late: list[float], grown: list[float]) -> list[tuple]:
    """Losses that fall and end with `late`, and learning rates that change when they do."""
    losses = [("loss.step", loss, "", step) for step, loss in enumerate([*FALLEN, *late], 1)]
    return losses + [("optimizer.lr", rate, "g", step) for step, rate in zip((1, 49, 61), [0.002, *grown])]


@pytest.mark.parametrize(
    ("late", "grown", "found"),
    [
        ([6.0] * 12 + [30.0] * 12, [0.01, 0.05], True),
        ([6.0] * 12 + [30.0] * 12, [0.002, 0.002], False),  # the loss rose for another reason
        ([0.6] * 12 + [0.2] * 12, [0.02, 0.001], False),  # a restart
        ([0.1] * 24, [0.01, 0.05], False),
    ],
)
def test_a_rate_that_grows_until_the_loss_is_lost_is_a_wrong_schedule(
    late: list[float], grown: list[float], found: bool
) -> None:
    ledger = written(*rates(late, grown))
    assert bool(lost_as_rate_grew(ledger)) is found
    assert ("loop.scheduler_misuse" in codes(diagnose(ledger))) is found


def test_an_evaluation_with_gradients_is_no_training_of_its_loader() -> None:
    """Each epoch makes new loaders, and evaluates without no_grad: samples do not occur twice in an epoch."""

    def training() -> None:
        x, y = samples()
        train, test = TensorDataset(x[:240], y[:240]), TensorDataset(x[240:], y[240:])
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, CLASSES))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(5):
            for a, b in DataLoader(train, 16, shuffle=True):
                optimizer.zero_grad()
                F.cross_entropy(model(a), b).backward()
                optimizer.step()
            for a, _ in DataLoader(test, 80):
                model(a)

    ledger = ledger_of(training)
    assert ledger.last("run.epoch_by") == "epoch()"
    assert codes(duplicates(ledger)) == []


@pytest.mark.parametrize(
    ("ratio", "norms", "found"), [(3.0, [10.0, 7.8], True), (3.0, [10.0, 10.4], False), (0.2, [10.0, 7.8], False)]
)
def test_decay_that_exceeds_the_gradient_of_adam_is_too_strong_before_it_shrank_the_weights_by_half(
    ratio: float, norms: list[float], found: bool
) -> None:
    records = [("optimizer.kind", "Adam", "optimizer0"), ("optimizer.weight_decay", 1.0, "optimizer0.group0")]
    records += [("optimizer.lr", 1e-3, "optimizer0.group0"), ("loss.chance", 2.3)]
    records += [("loss.step", 1.3, "", step) for step in range(1, 41)]
    records += [("decay.ratio", ratio, "", step) for step in range(1, 41)]
    records += [("weight.norm", norm, "", step) for step, norm in enumerate(norms, 1)]
    assert bool(codes(weight_decay_too_strong(written(*records)))) is found


@pytest.mark.parametrize(("factor", "found"), [(0.5, True), (1e-5, False)])
def test_a_penalty_on_the_weights_that_outweighs_the_loss(factor: float, found: bool) -> None:
    def training() -> None:
        x, y = samples()
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, CLASSES))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(8):
            for a, b in DataLoader(TensorDataset(x, y), 16, shuffle=True):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(a), b)
                (loss + factor * sum(p.abs().sum() for p in model.parameters())).backward()
                optimizer.step()

    assert bool(codes(weight_decay_too_strong(ledger_of(training)))) is found


class Wrapper(torch.optim.Optimizer):
    """Optimiser that changes the weights before the one inside it steps, as sharpness-aware minimisation does."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.1})
        self.base = torch.optim.SGD(self.param_groups, lr=0.1, momentum=0.9)


def test_a_wrapper_of_an_optimiser_does_not_recreate_it() -> None:
    def training() -> None:
        x, y = samples()
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, CLASSES))
        optimizer = Wrapper(model.parameters())
        for _ in range(3):
            for a, b in DataLoader(TensorDataset(x, y), 16, shuffle=True):
                F.cross_entropy(model(a), b).backward()
                optimizer.base.step()
                optimizer.zero_grad()

    assert not ledger_of(training).has("optimizer.replaced")


@pytest.mark.parametrize(("holds_both", "found"), [(True, True), (False, False)])
def test_the_optimiser_of_a_generator_may_not_hold_the_discriminator(holds_both: bool, found: bool) -> None:
    def training() -> None:
        generator, critic = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
        both = [*generator.parameters(), *critic.parameters()]
        of_generator = torch.optim.SGD(both if holds_both else generator.parameters(), lr=1e-2)
        of_critic = torch.optim.SGD(critic.parameters(), lr=1e-2)
        for _ in range(30):
            fake = generator(torch.randn(16, 2))
            of_critic.zero_grad()
            scores = critic(torch.cat([torch.randn(16, 2) + 2, fake.detach()]))
            F.binary_cross_entropy_with_logits(
                scores, torch.tensor([1.0, 0.0]).repeat_interleave(16)[:, None]
            ).backward()
            of_critic.step()
            of_generator.zero_grad()
            F.binary_cross_entropy_with_logits(critic(fake), torch.ones(16, 1)).backward()
            of_generator.step()

    assert ("loop.held_twice" in found_in(training)) is found


# The model.


@pytest.mark.parametrize(("length", "found"), [(1, ["gradient.vanishing"]), (400, [])])
def test_a_gradient_that_is_divided_among_many_positions_does_not_vanish(length: int, found: list[str]) -> None:
    sizes = [0.0002, 0.004, 0.05, 0.5]
    records = [("layer.order", i, f"l{i}") for i in range(4)]
    records += [("layer.kind", kind, f"l{i}") for i, kind in enumerate(("Conv1d", "Conv1d", "Linear", "Linear"))]
    records += [("layer.output_shape", [32, 16, length], f"l{i}") for i in range(2)]
    records += [("layer.output_shape", [32, 16], f"l{i}") for i in (2, 3)]
    records += [("layer.gradient", size, f"l{i}", step) for i, size in enumerate(sizes) for step in (1, 2)]
    assert codes(vanishing(written(*records))) == found


def test_a_narrow_layer_is_found_without_a_validation_loss() -> None:
    def training() -> None:
        torch.manual_seed(0)
        y = torch.randint(0, 10, (320,))
        x = torch.randn(320, 12) + 2 * F.one_hot(y, 12)
        model = nn.Sequential(nn.Linear(12, 2), nn.ReLU(), nn.Linear(2, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(6):
            for batch in torch.randperm(320).split(32):
                optimizer.zero_grad()
                F.cross_entropy(model(x[batch]), y[batch]).backward()
                optimizer.step()

    (finding,) = too_small(ledger_of(training))
    assert (finding.where, finding.evidence["val"]) == ("0", None)


def test_a_normalisation_over_one_value_is_named_before_what_follows_from_it() -> None:
    """A transformer on sequences of single numbers: its outputs are constant."""

    def training() -> None:
        torch.manual_seed(0)
        encoder = nn.TransformerEncoderLayer(1, 1, 16, dropout=0.0, batch_first=True)
        model = nn.Sequential(nn.TransformerEncoder(encoder, 2), nn.Flatten(), nn.Linear(12, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(40):
            x = torch.rand(16, 1, 1) + torch.arange(13)[None, :, None] / 50
            optimizer.zero_grad()
            F.mse_loss(model(x[:, :12]), x[:, 12]).backward()
            optimizer.step()

    (first, *_) = diagnose(ledger_of(training))
    assert (first.code, first.where) == ("activation.collapsed", "0.layers.0.norm1")
    assert "single value" in first.cause


def test_plain_tensors_that_start_at_zero_are_a_bad_start() -> None:
    def training() -> None:
        x, y = samples()
        shapes = [(8, 16), (16, 16), (16, 1)]
        weights = [torch.zeros(shape, requires_grad=True) for shape in shapes]
        bias = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.SGD([*weights, bias], lr=0.1)
        for _ in range(60):
            optimizer.zero_grad()
            hidden = ((x @ weights[0]).relu() @ weights[1]).relu()
            F.binary_cross_entropy_with_logits((hidden @ weights[2] + bias)[:, 0], (y > 1).float()).backward()
            optimizer.step()

    assert codes(bad_init(ledger_of(training))) == ["model.bad_init"]

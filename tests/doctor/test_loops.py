"""Training loops other than plain classification: no false findings, and faults are found."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import danlu
from danlu.doctor.derived.progress import chance_loss, has_even_epochs
from danlu.doctor.findings.loop.metric_last_batch import metric_last_batch
from danlu.doctor.ledger import Ledger
from danlu.doctor.loss.loss_kind import kind_by_graph
from danlu.doctor.watch import Doctor

GENERATOR = torch.Generator().manual_seed(0)
X = torch.rand(256, 16, generator=GENERATOR)
Y = (X[:, :4] + 0.1 * torch.randn(256, 4, generator=GENERATOR)).argmax(1)


def network(*end: nn.Module, outputs: int = 4) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, outputs), *end)


def watched(
    step: Callable[[nn.Module, Tensor], Tensor],
    model: nn.Module,
    *,
    epochs: int = 3,
    before: Callable[[nn.Module], Any] | None = None,
    validate: Callable[[nn.Module], Any] | None = None,
    rate: float = 3e-3,
) -> Doctor:
    """step(model, rows) computes the loss; before(model) runs before the training."""
    torch.manual_seed(5)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    with danlu.watch(model, budget=math.inf) as doctor:
        if before:
            before(model)
        for _ in range(epochs):
            for rows in torch.randperm(256).split(32):
                loss = step(model, rows)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            if validate:
                with torch.no_grad():
                    validate(model)
    return doctor


def alarms(doctor: Doctor) -> list[str]:
    """Findings except those about time, which depend on the load of the machine."""
    codes = [finding.code for finding in doctor.findings if finding.severity != "note"]
    return [code for code in codes if not code.startswith("speed.")]


def classify(model: nn.Module, rows: Tensor) -> Tensor:
    return F.cross_entropy(model(X[rows]), Y[rows])


def test_agent_acting_on_its_training_data_is_not_a_leak() -> None:
    """Every training step is followed by passes without gradients on repeated states."""

    def learn(model: nn.Module, rows: Tensor) -> Tensor:
        with torch.no_grad():
            chosen = [model(X[rows[i : i + 1]]).argmax(1) for i in range(4)]  # acting
            best = model(X[rows]).max(1).values  # the target, by the same network
        assert len(chosen) == 4
        return F.smooth_l1_loss(model(X[rows]).gather(1, Y[rows, None])[:, 0], 0.5 + 0.5 * best)

    doctor = watched(learn, network())
    assert alarms(doctor) == []
    assert doctor.ledger.values("run.steps") == [24]  # one epoch: no pass ended another
    assert doctor.ledger.values("run.forwards", "train") == [24]
    assert doctor.ledger.last("run.forwards", "val") == 0


def average_watched(model: nn.Module, average: nn.Module, lr: float, rate: float, evaluate: Callable) -> Doctor:
    """Train while `average` follows by a fraction `rate` of the distance in each step; evaluate(doctor) each epoch."""
    optimizer = torch.optim.Adam(model.parameters(), lr)
    with danlu.watch(model, optimizer, budget=math.inf) as doctor:
        for _ in range(8):
            for rows in torch.randperm(256).split(32):
                optimizer.zero_grad()
                classify(model, rows).backward()
                optimizer.step()
                with torch.no_grad():
                    for averaged, trained in zip(average.parameters(), model.parameters()):
                        averaged.lerp_(trained, rate)
            with torch.no_grad():
                evaluate(doctor)
    return doctor


@pytest.mark.parametrize("updated", [True, False])
@pytest.mark.parametrize("by_loss", [True, False])
def test_an_average_of_the_weights_that_is_evaluated_must_be_updated(updated: bool, by_loss: bool) -> None:
    model = network()
    average = copy.deepcopy(model)

    def evaluate(doctor: Doctor) -> None:
        if by_loss:
            classify(average, torch.arange(256))
        else:
            doctor.epoch(val_accuracy=(average(X).argmax(1) == Y).float().mean().item())

    doctor = average_watched(model, average, 1e-2, 0.2 if updated else 0.0, evaluate)
    assert ("loop.stale_evaluation" in alarms(doctor)) is not updated


@pytest.mark.parametrize("decay", [0.9, 0.9999])
def test_an_average_of_the_weights_must_follow_them_in_the_time_there_is(decay: float) -> None:
    model = network()
    average = copy.deepcopy(model)
    doctor = average_watched(model, average, 2e-2, 1 - decay, lambda _: classify(average, torch.arange(256)))
    assert ("loop.stale_evaluation" in alarms(doctor)) is (decay == 0.9999)


def test_the_loss_of_a_pass_with_gradients_is_its_own_though_a_teacher_answers_in_between() -> None:
    def learn(model: nn.Module, rows: Tensor) -> Tensor:
        outputs = model(X[rows])
        with torch.no_grad():
            labels = model(X[rows] + 0.01).argmax(1)
        return F.cross_entropy(outputs, labels)

    doctor = watched(learn, network())
    assert alarms(doctor) == []
    assert len(doctor.ledger.values("loss.step")) == 24
    assert not doctor.ledger.has("loss.mean", "val")


@pytest.mark.parametrize("batches", [2, 8])
def test_validation_is_validation_by_its_loss_or_by_its_distance(batches: int) -> None:
    """Short epochs are recognised by the loss, long ones without it."""

    def validate(model: nn.Module) -> None:
        outputs = model(X[:64])
        if batches == 2:
            F.cross_entropy(outputs, Y[:64])

    model, optimizer = network(), None
    with danlu.watch(model, budget=math.inf) as doctor:
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(5):
            for rows in torch.arange(64 * batches).remainder(256).split(64):
                loss = classify(model, rows)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            with torch.no_grad():
                validate(model)
    assert doctor.ledger.values("run.steps") == [batches * (i + 1) for i in range(5)]
    assert doctor.ledger.last("run.forwards", "val") == 5


@pytest.mark.parametrize(
    ("ends", "even"),
    [
        ([8, 16, 24], True),
        ([8, 16, 19], True),
        ([12, 25, 718], False),
        ([3, 30, 36, 80], False),
        ([40], True),
        ([], True),
    ],
)
def test_epochs_are_as_long_as_one_another(ends: list[int], even: bool) -> None:
    ledger = Ledger()
    for epoch, end in enumerate(ends, 1):
        ledger.add("run.steps", end, "", epoch)
    assert has_even_epochs(ledger) == even


def test_an_autoencoder_of_grey_values_is_measured_by_the_mean_grey() -> None:
    def learn(model: nn.Module, rows: Tensor) -> Tensor:
        return F.binary_cross_entropy(model(X[rows]), X[rows])

    def validate(model: nn.Module) -> None:
        fresh = torch.rand(64, 16)
        F.binary_cross_entropy(model(fresh), fresh)

    doctor = watched(learn, network(nn.Sigmoid(), outputs=16), epochs=6, validate=validate)
    assert alarms(doctor) == []
    mean = X.mean().item()
    entropy = -mean * math.log(mean) - (1 - mean) * math.log(1 - mean)
    assert chance_loss(doctor.ledger) == pytest.approx(entropy, rel=1e-3)


def test_sum_of_losses_has_no_kind() -> None:
    outputs, targets = network()(X), Y
    part = F.cross_entropy(outputs, targets)
    assert kind_by_graph(part / 4) == "cross_entropy"
    assert kind_by_graph(part + (outputs**2).mean()) is None
    assert kind_by_graph(((outputs - 1) ** 2).mean()) == "mse"
    assert kind_by_graph((torch.ones(len(outputs), 1) * (outputs - 1) ** 2).mean()) == "mse"


def test_a_focal_loss_by_hand_is_not_taken_for_a_squared_error() -> None:
    def focal(outputs: Tensor, targets: Tensor) -> Tensor:
        right = torch.log_softmax(outputs, 1).gather(1, targets[:, None])[:, 0]
        return -((1 - right.exp()) ** 2 * right).mean()

    assert kind_by_graph(focal(network()(X), Y)) is None

    def learn(model: nn.Module, rows: Tensor) -> Tensor:
        return focal(model(X[rows]), Y[rows])

    assert "model.loss_mismatch" not in alarms(watched(learn, network()))


def test_validation_before_training_is_not_judged() -> None:
    """Without gradients there is no graph that shows the final sigmoid."""

    def learn(model: nn.Module, rows: Tensor) -> Tensor:
        return nn.BCELoss()(model(X[rows])[:, 0], (X[rows, 0] > 0.5).float())

    def look(model: nn.Module) -> None:
        with torch.no_grad():
            nn.BCELoss()(model(X)[:, 0], (X[:, 0] > 0.5).float())

    doctor = watched(learn, network(nn.Sigmoid(), outputs=1), before=look)
    assert doctor.ledger.values("output.activation") == ["sigmoid"]
    assert alarms(doctor) == []


def test_frozen_weights_do_not_make_the_steps_look_short() -> None:
    model = network()
    model[0].requires_grad_(False)
    model[0].weight.data *= 100
    model[0].bias.data *= 100
    ratios = watched(lambda m, rows: classify(m, rows) / 100, model).ledger.values("update.ratio")
    assert min(ratios) > 1e-3


def test_of_two_optimisers_of_which_one_is_not_the_models_no_instrument_fails() -> None:
    """A generator is watched; the critic's optimiser steps first, and its passes go back through the critic alone."""
    torch.manual_seed(0)
    generator, critic = network(outputs=16), network(outputs=1)
    optimizers = [torch.optim.Adam(one.parameters(), 1e-3) for one in (critic, generator)]
    with danlu.watch(generator, budget=math.inf) as doctor:
        for _ in range(20):
            fake = generator(torch.rand(32, 16))
            loss = F.softplus(critic(fake.detach())).mean() + F.softplus(-critic(X[:32])).mean()
            optimizers[0].zero_grad()
            loss.backward()
            optimizers[0].step()
            optimizers[1].zero_grad()
            F.softplus(-critic(fake)).mean().backward()
            optimizers[1].step()
    assert not doctor.ledger.has("run.unseen", "gradients")
    assert alarms(doctor) == []


@pytest.mark.parametrize("micro", [1, 4])
def test_a_minus_before_the_loss_is_named_first(micro: int) -> None:
    doctor = watched(lambda model, rows: -classify(model, rows) / micro, network())
    assert alarms(doctor)[0] == "loop.wrong_sign"
    assert alarms(watched(lambda model, rows: classify(model, rows) / micro, network())) == []


def test_large_loss_is_printed_with_few_digits() -> None:
    """2320.001 against 2320.004 is rounding, and no mean over batches."""
    ledger = Ledger()
    for epoch in (1, 2, 3):
        ledger.add("loss.mean", 2320.001, "val", epoch)
        ledger.add("loss.batch_mean", 2320.004, "val", epoch)
        ledger.add("user.metric", 2320.004, "val_loss", epoch)
    assert not list(metric_last_batch(ledger))


@pytest.mark.parametrize("contradictory", [True, False])
def test_two_tasks_on_the_same_samples_are_no_contradictory_labels(contradictory: bool) -> None:
    """Each task has its pass: labels of classes, then numbers; or two labels for the same sample."""
    model = network(outputs=5)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    with danlu.watch(model, budget=math.inf) as doctor:
        for epoch in range(4):
            for rows in torch.randperm(256).split(32):
                optimizer.zero_grad()
                labels = (Y[rows] + epoch) % 4 if contradictory else Y[rows]
                F.cross_entropy(model(X[rows])[:, :4], labels).backward()
                F.binary_cross_entropy_with_logits(model(X[rows])[:, 4], (Y[rows] > 1).float()).backward()
                optimizer.step()
            with torch.no_grad():
                F.cross_entropy(model(X[:64])[:, :4], Y[:64])
    assert ("data.duplicates" in alarms(doctor)) is contradictory


def test_a_summed_loss_of_validation_is_no_loss_of_other_weights() -> None:
    model, summed = network(), torch.nn.CrossEntropyLoss(reduction="sum")
    optimizer = torch.optim.Adam(model.parameters(), 2e-2)
    with danlu.watch(model, optimizer, budget=math.inf) as doctor:
        for _ in range(8):
            for rows in torch.randperm(256).split(32):
                optimizer.zero_grad()
                (summed(model(X[rows]), Y[rows]) / len(rows)).backward()
                optimizer.step()
            with torch.no_grad():
                value = (summed(model(X[:64]), Y[:64]) / 64).item()
            doctor.epoch(val_loss=value)
    assert doctor.ledger.has("loss.of_others")
    assert "loop.stale_evaluation" not in alarms(doctor)

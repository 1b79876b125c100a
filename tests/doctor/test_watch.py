"""The doctor does not change training, removes its hooks, and finds faults planted into a small loop."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks

import danlu
from danlu.doctor.ledger import Ledger

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(256, 20, generator=GENERATOR)
Y = (X[:, :4] + 0.3 * torch.randn(256, 4, generator=GENERATOR)).argmax(1)


def network(*extra: nn.Module) -> nn.Sequential:
    torch.manual_seed(3)
    layers = [nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 24), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(24, 4), *extra)


def train(model, optimizer, loss_fn, epochs=3, batch=32, step=None, val_mode=False, val_grad=False):
    """A plain loop; step replaces what happens after the loss."""
    losses = []
    for _ in range(epochs):
        model.train()
        order = torch.randperm(192)
        for rows in order.split(batch):
            loss = loss_fn(model(X[rows]), Y[rows])
            losses.append(float(loss.detach()))
            if step:
                step(loss, optimizer)
            else:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        model.train(val_mode)
        with torch.set_grad_enabled(val_grad):
            for rows in torch.arange(192, 256).split(batch):
                losses.append(float(loss_fn(model(X[rows]), Y[rows]).detach()))
    return losses


def codes(doctor) -> list[str]:
    return [finding.code for finding in doctor.findings if finding.severity != "note"]


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-4),
    "adam": lambda p: torch.optim.Adam(p, lr=3e-3),
}
LOSSES = {"module": nn.CrossEntropyLoss(), "function": F.cross_entropy}


@pytest.mark.parametrize("given", [True, False], ids=["loss given", "loss searched"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_training_is_the_same_bits_with_and_without_the_doctor(kind, loss, given):
    results = []
    for watched in (False, True):
        model = network()
        optimizer = OPTIMIZERS[kind](model.parameters())
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(7)
        if watched:
            # An unlimited budget: every instrument measures at every step.
            with danlu.watch(model, optimizer, LOSSES[loss] if given else None, budget=math.inf):
                losses = train(model, optimizer, LOSSES[loss])
        else:
            losses = train(model, optimizer, LOSSES[loss])
        state = [v for s in optimizer.state.values() for v in s.values() if isinstance(v, torch.Tensor)]
        generators = (torch.random.get_rng_state(), random.random(), np.random.random())  # noqa: NPY002
        results.append((losses, [*model.state_dict().values(), *state], generators))
    (losses, tensors, generators), (other_losses, other_tensors, other_generators) = results
    assert losses == other_losses
    assert all(torch.equal(a, b) for a, b in zip(tensors, other_tensors, strict=True))
    assert torch.equal(generators[0], other_generators[0])
    assert generators[1:] == other_generators[1:]


def test_nothing_is_left_behind():
    model, loss_fn = network(), nn.CrossEntropyLoss()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    with danlu.watch(model, optimizer, budget=math.inf):
        train(model, optimizer, loss_fn, epochs=2)
    for part in [*model.modules(), loss_fn]:
        assert not part._forward_hooks
        assert not part._forward_pre_hooks
        assert not part._backward_hooks
    assert not module_hooks._global_forward_hooks
    assert not optimizer_hooks._global_optimizer_pre_hooks
    assert not optimizer_hooks._global_optimizer_post_hooks
    assert torch.overrides._get_current_function_mode() is None
    assert all(not p._post_accumulate_grad_hooks for p in model.parameters())


def test_the_ledger_agrees_with_the_loop():
    model, loss_fn = network(), nn.CrossEntropyLoss()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    with danlu.watch(model, optimizer, loss_fn, budget=math.inf) as doctor:
        losses = train(model, optimizer, loss_fn, epochs=2)
    ledger = doctor.ledger
    train_losses = losses[:6] + losses[8:14]
    assert ledger.values("loss.step") == pytest.approx(train_losses, rel=1e-6)
    assert ledger.series("loss.mean", "val")[0] == [1, 2]
    assert ledger.last("loss.mean", "val") == pytest.approx(sum(losses[14:]) / 2, rel=1e-6)
    assert ledger.last("run.finished") == 12
    with torch.no_grad():
        model.eval()
        right = (model(X[192:]).argmax(1) == Y[192:]).float().mean().item()
    assert ledger.last("accuracy.mean", "val") == pytest.approx(right)
    total = math.sqrt(sum(float(p.detach().norm()) ** 2 for p in model.parameters()))
    assert ledger.last("weight.norm") == pytest.approx(total, rel=1e-5)
    used = math.sqrt(sum(float(p.grad.norm()) ** 2 for p in model.parameters()))
    assert ledger.last("gradient.norm") == pytest.approx(used, rel=1e-5)
    assert ledger.last("loss.kind") == "cross_entropy"


def test_a_healthy_run_raises_no_alarm():
    model, loss_fn = network(), nn.CrossEntropyLoss()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    with danlu.watch(model, optimizer, loss_fn, budget=math.inf) as doctor:
        train(model, optimizer, loss_fn, epochs=6)
    assert not codes(doctor)


def keep_gradients(loss, optimizer):
    loss.backward()
    optimizer.step()


def no_step(loss, optimizer):
    optimizer.zero_grad()
    loss.backward()


def no_backward(loss, optimizer):
    optimizer.step()


STEPS = {
    "loop.missing_zero_grad": {"step": keep_gradients},
    "loop.no_update": {"step": no_step},
    "loop.wrong_mode": {"val_mode": True},
    "loop.graph_kept": {"val_grad": True},
}


@pytest.mark.parametrize("code", STEPS)
def test_faults_of_the_loop_are_found(code):
    model, loss_fn = network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with danlu.watch(model, optimizer, loss_fn, budget=math.inf) as doctor:
        train(model, optimizer, loss_fn, epochs=3, **STEPS[code])
    assert codes(doctor)[0] == code


def test_backward_that_is_never_called_is_found():
    model, loss_fn = network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with danlu.watch(model, optimizer, loss_fn) as doctor:
        train(model, optimizer, loss_fn, step=no_backward)
    assert "loop.no_update" in codes(doctor)


def test_recreated_optimiser_is_found():
    model, loss_fn = network(), nn.CrossEntropyLoss()
    with danlu.watch(model, None, loss_fn) as doctor:
        for _ in range(3):
            train(model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), loss_fn, epochs=1)
    assert "loop.optimizer_recreated" in codes(doctor)


def test_parameters_the_optimiser_lacks_are_found():
    model, loss_fn = network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model[4:].parameters(), lr=0.05)
    with danlu.watch(model, optimizer, loss_fn) as doctor:
        train(model, optimizer, loss_fn)
    found = next(f for f in doctor.findings if f.code == "loop.params_not_in_optimizer")
    assert found.evidence["parameters"] == ["0.weight", "0.bias", "1.weight", "1.bias"]


MODELS = {
    "model.no_nonlinearity": lambda: nn.Sequential(nn.Linear(20, 32), nn.Linear(32, 32), nn.Linear(32, 4)),
    "model.output_mismatch": lambda: network(nn.Softmax(1)),
}


@pytest.mark.parametrize("code", MODELS)
def test_faults_of_the_model_are_found(code):
    model, loss_fn = MODELS[code](), nn.CrossEntropyLoss()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    with danlu.watch(model, optimizer, loss_fn) as doctor:
        train(model, optimizer, loss_fn)
    assert codes(doctor)[0] == code


def test_functional_relu_counts_as_a_nonlinearity():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.three = nn.Linear(20, 32), nn.Linear(32, 32), nn.Linear(32, 4)

        def forward(self, x):
            return self.three(F.relu(self.two(F.relu(self.one(x)))))

    model = Net()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    with danlu.watch(model, optimizer, budget=math.inf) as doctor:
        train(model, optimizer, F.cross_entropy)
    assert not codes(doctor)
    assert doctor.ledger.facts("layer.activation") == {">two": "relu", ">three": "relu"}
    assert doctor.ledger.has("activation.dead_units", ">three")


def test_the_source_of_a_nan_is_named():
    class Root(nn.Module):
        def forward(self, x):
            return torch.sqrt(x)

    model = nn.Sequential(nn.Linear(20, 16), Root(), nn.Linear(16, 4))
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    with danlu.watch(model, optimizer, nn.CrossEntropyLoss()) as doctor:
        train(model, optimizer, nn.CrossEntropyLoss(), epochs=1)
    first = doctor.findings[0]
    assert (first.code, first.where, first.evidence["step"]) == ("numerics.nonfinite", "1", 1)
    assert first.evidence["source"] == "activation"


def test_a_bad_sample_is_named():
    model = network()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    loss_fn, bad = nn.CrossEntropyLoss(), X[:32].clone()
    bad[5, 3] = math.nan
    with danlu.watch(model, optimizer, loss_fn) as doctor:
        for x in (X[:32], bad):
            optimizer.zero_grad()
            loss_fn(model(x), Y[:32]).backward()
            optimizer.step()
    assert doctor.findings[0].evidence["source"] == "input"
    assert doctor.findings[0].evidence["samples"] == [5]


def test_lbfgs_accumulation_and_several_calls_per_step():
    model, loss_fn = network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)

    def closure():
        optimizer.zero_grad()
        loss = loss_fn(model(X[:32]), Y[:32])
        loss.backward()
        return loss

    with danlu.watch(model, optimizer, loss_fn) as doctor:
        for _ in range(3):
            optimizer.step(closure)
    assert doctor.ledger.last("run.finished") == 3
    assert not doctor.ledger.has("run.unseen")

    optimizer = OPTIMIZERS["sgd"](model.parameters())
    with danlu.watch(model, optimizer, loss_fn) as doctor:
        for _ in range(4):
            optimizer.zero_grad()
            for rows in (slice(0, 32), slice(32, 64)):
                (loss_fn(model(X[rows]), Y[rows]) / 2).backward()
            optimizer.step()
    assert doctor.ledger.last("optimizer.micro_batches") == 2
    assert doctor.ledger.last("batch.size") == 64
    assert "loop.missing_zero_grad" not in codes(doctor)


def test_metric_averaged_over_batches_is_found(tmp_path):
    model, loss_fn = network(), nn.CrossEntropyLoss()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    with danlu.watch(model, optimizer, loss_fn, budget=math.inf) as doctor:
        for _ in range(3):
            model.train()
            for rows in torch.randperm(192).split(32):
                optimizer.zero_grad()
                loss_fn(model(X[rows]), Y[rows]).backward()
                optimizer.step()
            model.eval()
            parts = []
            with torch.no_grad():
                for rows in torch.arange(192, 256).split(50):
                    outputs = model(X[rows])
                    loss_fn(outputs, Y[rows])
                    parts.append((outputs.argmax(1) == Y[rows]).float().mean().item())
            doctor.epoch(val_accuracy=sum(parts) / len(parts))
    assert codes(doctor) == ["loop.metric_last_batch"]
    path = doctor.ledger.save(tmp_path / "ledger.jsonl")
    assert list(Ledger.read(path)) == list(doctor.ledger)


def test_invalid_model_or_optimizer_is_refused():
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, got str"):
        danlu.watch("model")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"optimizer must be .* got str"):
        danlu.watch(torch.nn.Linear(2, 2), ["adam"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"optimizer must be .* got int"):
        danlu.watch(torch.nn.Linear(2, 2), 5)  # type: ignore[arg-type]


@pytest.mark.parametrize("names", [10, "cat", None, 0.5])
@pytest.mark.parametrize("thing", ["classes", "columns"])
def test_names_are_several(thing, names):
    with pytest.raises(TypeError, match=f"{thing} must be names, such as"):
        danlu.watch(torch.nn.Linear(2, 2), **{thing: names})


@pytest.mark.parametrize("budget", [-1, 0, 1.5, 5, math.nan, -math.inf, "x", "", None, True, [0.03]])
def test_budget_is_a_fraction_of_the_training(budget):
    with pytest.raises(danlu.Refusal, match="budget must be a fraction of the training time above 0 and at most 1"):
        danlu.watch(torch.nn.Linear(2, 2), budget=budget)


@pytest.mark.parametrize("language", ["fr", "", 3, "EN"])
def test_language_is_one_that_danlu_speaks(language):
    with pytest.raises(danlu.Refusal, match="language must be en or zh"):
        danlu.watch(torch.nn.Linear(2, 2), language=language)


@pytest.mark.parametrize("loss_fn", [5, "x", []])
def test_loss_is_called(loss_fn):
    with pytest.raises(TypeError, match="loss_fn must be a loss module, a function or None"):
        danlu.watch(torch.nn.Linear(2, 2), loss_fn=loss_fn)

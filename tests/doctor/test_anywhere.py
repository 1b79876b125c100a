"""All kinds of training that the doctor supports: training is unchanged, hooks are removed, no false findings, and a far
too high learning rate is found."""

from __future__ import annotations

import json
import math
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo.backends.debugging import aot_eager
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks

import danlu

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(320, 20, generator=GENERATOR)
Y = (X[:, :4] + 0.3 * torch.randn(320, 4, generator=GENERATOR)).argmax(1)
TRAIN, VAL = torch.arange(256), torch.arange(256, 320)
EPOCHS, BATCH = 6, 32


@dataclass
class Training:
    """Components and results of one kind of training."""

    model: nn.Module
    optimizers: list[torch.optim.Optimizer]
    losses: list[float] = field(default_factory=list)
    extra: list[nn.Module] = field(default_factory=list)  # what else learns or is called

    def tensors(self) -> list[Tensor]:
        states = [v for o in self.optimizers for s in o.state.values() for v in s.values() if isinstance(v, Tensor)]
        return [t for m in (self.model, *self.extra) for t in m.state_dict().values()] + states


def network(outputs: int = 4) -> nn.Sequential:
    torch.manual_seed(3)
    layers = [nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU(), nn.Dropout(0.1)]
    return nn.Sequential(*layers, nn.Linear(24, outputs))


def epochs(training: Training, step: Callable[[Tensor], Any], loss_fn: Callable, autocast: bool = False) -> None:
    """step(rows) trains on a batch and returns its loss; validation is done here."""
    model = training.model
    for _ in range(EPOCHS):
        model.train()
        for rows in TRAIN[torch.randperm(len(TRAIN))].split(BATCH):
            training.losses.append(float(step(rows)))
        model.eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            for rows in VAL.split(BATCH):
                training.losses.append(float(loss_fn(model(X[rows]), Y[rows])))


def sgd(model: nn.Module, rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), rate, momentum=0.9)


Watch = Callable[..., Any]  # danlu.watch, or a function without effect


def autocast(rate: float, watch: Watch) -> Training:
    model, loss_fn = network(), nn.CrossEntropyLoss()
    run = Training(model, [sgd(model, rate)])

    def step(rows: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_fn(model(X[rows]), Y[rows])
        run.optimizers[0].zero_grad()
        loss.backward()
        run.optimizers[0].step()
        return loss.detach()

    with watch(model, run.optimizers[0], loss_fn):
        epochs(run, step, loss_fn, autocast=True)
    return run


def grad_scaler(rate: float, watch: Watch, fused: bool = False) -> Training:
    model, loss_fn = network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=0.9, fused=fused)
    run, scaler = Training(model, [optimizer]), torch.amp.GradScaler("cpu")

    def step(rows: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.float16):
            loss = loss_fn(model(X[rows]), Y[rows])
        run.optimizers[0].zero_grad()
        scaler.scale(loss).backward()
        scaler.step(run.optimizers[0])
        scaler.update()
        return loss.detach()

    with watch(model, run.optimizers[0], loss_fn):
        epochs(run, step, loss_fn)
    return run


def grad_scaler_fused(rate: float, watch: Watch) -> Training:
    """The optimiser unscales the gradients itself."""
    return grad_scaler(rate, watch, fused=True)


def accumulation(rate: float, watch: Watch) -> Training:
    model, loss_fn = network(), nn.CrossEntropyLoss()
    run = Training(model, [sgd(model, rate)])

    def step(rows: Tensor) -> float:
        run.optimizers[0].zero_grad()
        total = 0.0
        for part in rows.chunk(4):
            loss = loss_fn(model(X[part]), Y[part]) / 4
            loss.backward()
            total += float(loss.detach())
        run.optimizers[0].step()
        return total

    with watch(model, run.optimizers[0], loss_fn):
        epochs(run, step, loss_fn)
    return run


def two_optimizers(rate: float, watch: Watch) -> Training:
    """One optimiser for the backbone, one for the head."""
    model, loss_fn = network(), nn.CrossEntropyLoss()
    run = Training(model, [sgd(model[:6], rate), torch.optim.Adam(model[6:].parameters(), rate / 10)])

    def step(rows: Tensor) -> Tensor:
        for optimizer in run.optimizers:
            optimizer.zero_grad()
        loss = loss_fn(model(X[rows]), Y[rows])
        loss.backward()
        for optimizer in run.optimizers:
            optimizer.step()
        return loss.detach()

    with watch(model, run.optimizers, loss_fn):
        epochs(run, step, loss_fn)
    return run


def adversaries(rate: float, watch: Watch) -> Training:
    """A generator and a discriminator, each with an optimiser and a doctor of its own."""
    torch.manual_seed(5)
    maker = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 20))
    judge = nn.Sequential(nn.Linear(20, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    run = Training(judge, [torch.optim.Adam(m.parameters(), rate / 20, betas=(0.5, 0.9)) for m in (judge, maker)])
    run.extra.append(maker)
    loss_fn = nn.BCEWithLogitsLoss()

    with watch(judge, run.optimizers[0], loss_fn), watch(maker, run.optimizers[1], loss_fn):
        for _ in range(2 * EPOCHS):
            for rows in TRAIN[torch.randperm(len(TRAIN))].split(BATCH):
                made, yes, no = maker(torch.randn(BATCH, 6)), torch.ones(BATCH, 1), torch.zeros(BATCH, 1)
                run.optimizers[0].zero_grad()
                loss = loss_fn(judge(X[rows]), yes) + loss_fn(judge(made.detach()), no)
                loss.backward()
                run.optimizers[0].step()
                run.optimizers[1].zero_grad()
                fooled = loss_fn(judge(made), yes)
                fooled.backward()
                run.optimizers[1].step()
                run.losses += [float(loss.detach()), float(fooled.detach())]
    return run


def lbfgs(rate: float, watch: Watch) -> Training:
    torch.manual_seed(3)
    model, loss_fn = nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 4)), nn.CrossEntropyLoss()
    run = Training(model, [torch.optim.LBFGS(model.parameters(), lr=rate, max_iter=4)])
    x, y = X[TRAIN], Y[TRAIN]

    def closure() -> Tensor:
        run.optimizers[0].zero_grad()
        loss = loss_fn(model(x), y) + 0.01 * sum(p.square().sum() for p in model.parameters())
        loss.backward()
        return loss

    with watch(model, run.optimizers[0], loss_fn):
        for _ in range(20):
            run.losses.append(float(run.optimizers[0].step(closure)))
    return run


def siamese(rate: float, watch: Watch) -> Training:
    """One network is called on two samples and learns which of them has the larger sum."""
    model, loss_fn = network(1), nn.BCEWithLogitsLoss()
    run = Training(model, [sgd(model, rate)])

    def larger(rows: Tensor) -> Tensor:
        first, second = X[rows].chunk(2)
        return loss_fn((model(first) - model(second))[:, 0], (first.sum(1) > second.sum(1)).float())

    def step(rows: Tensor) -> Tensor:
        run.optimizers[0].zero_grad()
        loss = larger(rows)
        loss.backward()
        run.optimizers[0].step()
        return loss.detach()

    with watch(model, run.optimizers[0], loss_fn):
        for _ in range(EPOCHS):
            model.train()
            run.losses += [float(step(rows)) for rows in TRAIN[torch.randperm(len(TRAIN))].split(BATCH)]
            model.eval()
            with torch.no_grad():
                run.losses += [float(larger(rows)) for rows in VAL.split(BATCH)]
    return run


def all_left_out(rate: float, watch: Watch) -> Training:
    """Neither the optimiser nor the loss is passed."""
    model = network()
    run = Training(model, [sgd(model, rate)])

    def step(rows: Tensor) -> Tensor:
        loss = F.cross_entropy(model(X[rows]), Y[rows])
        run.optimizers[0].zero_grad()
        loss.backward()
        run.optimizers[0].step()
        return loss.detach()

    with watch(model):
        epochs(run, step, F.cross_entropy)
    return run


def compiled(rate: float, watch: Watch, watched: str = "compiled") -> Training:
    """watched: what the doctor is given: "compiled", the model "inside" that, one compiled "in place", or one whose
    whole step is compiled by a "step" function."""
    model, loss_fn = network(), nn.CrossEntropyLoss()
    if watched == "in place":
        model.compile(backend=counting_backend, fullgraph=True)
    outside = watched in ("compiled", "inside")
    called = torch.compile(model, backend=counting_backend, fullgraph=True) if outside else model
    run = Training(called, [sgd(model, rate)])

    def step(rows: Tensor) -> Tensor:
        loss = loss_fn(run.model(X[rows]), Y[rows])
        run.optimizers[0].zero_grad()
        loss.backward()
        run.optimizers[0].step()
        return loss.detach()

    GRAPHS.clear()
    with watch(model if watched == "inside" else run.model, run.optimizers[0], loss_fn):
        epochs(run, torch.compile(step, backend=counting_backend) if watched == "step" else step, loss_fn)
    return run


def compiled_in_place(rate: float, watch: Watch) -> Training:
    return compiled(rate, watch, "in place")


def compiled_outside(rate: float, watch: Watch) -> Training:
    return compiled(rate, watch, "inside")


def compiled_step(rate: float, watch: Watch) -> Training:
    return compiled(rate, watch, "step")


GRAPHS: list[int] = []  # operations of each graph that was compiled


def counting_backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
    GRAPHS.append(len(graph.graph.nodes))
    return aot_eager(graph, inputs)


def no_validation(rate: float, watch: Watch) -> Training:
    model, loss_fn = network(), nn.CrossEntropyLoss()
    run = Training(model, [sgd(model, rate)])
    with watch(model, run.optimizers[0], loss_fn):
        for _ in range(EPOCHS):
            for rows in TRAIN[torch.randperm(len(TRAIN))].split(BATCH):
                loss = loss_fn(model(X[rows]), Y[rows])
                run.optimizers[0].zero_grad()
                loss.backward()
                run.optimizers[0].step()
                run.losses.append(float(loss.detach()))
    return run


# Way -> the training, a rate that suits it, and one far too high.
WAYS: dict[str, tuple[Callable[[float, Watch], Training], float, float]] = {
    "autocast": (autocast, 0.03, 30.0),
    "grad_scaler": (grad_scaler, 0.03, 30.0),
    "grad_scaler_fused": (grad_scaler_fused, 0.03, 30.0),
    "accumulation": (accumulation, 0.03, 30.0),
    "two_optimizers": (two_optimizers, 0.03, 30.0),
    "adversaries": (adversaries, 0.02, 200.0),
    "lbfgs": (lbfgs, 0.5, 1000.0),
    "siamese": (siamese, 0.01, 30.0),
    "all_left_out": (all_left_out, 0.03, 30.0),
    "compiled": (compiled, 0.03, 30.0),
    "compiled_in_place": (compiled_in_place, 0.03, 30.0),
    "compiled_outside": (compiled_outside, 0.03, 30.0),
    "compiled_step": (compiled_step, 0.03, 30.0),
    "no_validation": (no_validation, 0.03, 30.0),
}


BLIND = ("compiled_outside", "compiled_step")  # the doctor cannot look into these

# Compiling takes seconds: one of the two tests is enough for every day.
QUICK = [
    pytest.param(way, marks=pytest.mark.slow) if way.startswith("compiled") else way for way in WAYS if way not in BLIND
]


def train(way: str, rate: float, watched: bool, budget: float = math.inf) -> tuple[Training, list[Any], tuple]:
    """Return the training, its doctors, and the states of the random generators at its end."""
    doctors: list[Any] = []

    def watch(*watched: Any) -> Any:
        if not watched:
            return nullcontext()
        doctors.append(danlu.watch(*watched, budget=budget))
        return doctors[-1]

    torch.compiler.reset()
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(7)
    run = WAYS[way][0](rate, watch)
    return run, doctors, (torch.random.get_rng_state().tolist(), random.random(), np.random.random())  # noqa: NPY002


def codes(doctors: list[Any]) -> list[str]:
    return [f.code for doctor in doctors for f in doctor.findings if f.severity != "note"]


@pytest.mark.parametrize("way", [pytest.param(w, marks=pytest.mark.slow) if w in BLIND else w for w in WAYS])
def test_same_bits_and_no_alarm(way: str) -> None:
    rate = WAYS[way][1]
    alone, _, generators = train(way, rate, watched=False)
    seen, doctors, others = train(way, rate, watched=True)
    assert alone.losses == seen.losses
    assert all(torch.equal(a, b) for a, b in zip(alone.tensors(), seen.tensors(), strict=True))
    assert generators == others
    assert alone.losses[-1] < alone.losses[0], "the healthy training is to learn something"
    assert not codes(doctors)
    assert way in BLIND or all(doctor.ledger.last("run.finished") > 0 for doctor in doctors)
    nothing_left([seen.model, *seen.extra])


def nothing_left(models: list[nn.Module]) -> None:
    for part in [part for model in models for part in model.modules()]:
        assert not part._forward_hooks
        assert not part._forward_pre_hooks
        assert not part._backward_hooks
    for parameter in [p for model in models for p in model.parameters()]:
        assert not parameter._backward_hooks
        assert not parameter._post_accumulate_grad_hooks
    assert not module_hooks._global_forward_hooks
    assert not module_hooks._global_forward_pre_hooks
    assert not module_hooks._has_any_global_hook()
    assert not optimizer_hooks._global_optimizer_pre_hooks
    assert not optimizer_hooks._global_optimizer_post_hooks
    assert torch.overrides._get_current_function_mode() is None


@pytest.mark.parametrize("way", QUICK)
def test_lr_far_too_high_is_found(way: str) -> None:
    _, doctors, _ = train(way, WAYS[way][2], watched=True)
    assert "optim.lr_too_high" in codes(doctors)


@pytest.mark.parametrize("way", ["autocast", "lbfgs", "two_optimizers"])
def test_the_budget_changes_no_bit_either(way: str) -> None:
    """With a budget of 3 % instruments only measure at some steps."""
    rate = WAYS[way][1]
    alone, _, _ = train(way, rate, watched=False)
    seen, _, _ = train(way, rate, watched=True, budget=0.03)
    assert alone.losses == seen.losses
    assert all(torch.equal(a, b) for a, b in zip(alone.tensors(), seen.tensors(), strict=True))


def test_the_gradient_of_a_closure_is_that_of_its_first_evaluation() -> None:
    """The gradient does not exist yet when optimizer.step(closure) is called."""
    model, loss_fn = network(), nn.CrossEntropyLoss()
    optimizer, norms = sgd(model, 0.03), []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_fn(model(X[:BATCH]), Y[:BATCH])
        loss.backward()
        norms.append(math.sqrt(sum(float(p.grad.norm()) ** 2 for p in model.parameters())))  # type: ignore[union-attr]
        return loss

    with danlu.watch(model, optimizer, loss_fn, budget=math.inf) as doctor:
        for _ in range(4):
            optimizer.step(closure)
    assert doctor.ledger.values("gradient.norm") == pytest.approx(norms, rel=1e-5)


def test_a_nan_is_explained_while_its_graph_still_waits_for_backward() -> None:
    """Batch norm keeps its running statistics for the backward pass: running the batch again must not write to them."""
    torch.manual_seed(0)
    model, loss_fn = network(), nn.CrossEntropyLoss()
    optimizer = sgd(model, 0.03)
    model[4].register_forward_hook(lambda m, args, out: out * (math.nan if optimizer.state else 1.0))
    with danlu.watch(model, optimizer, loss_fn) as doctor:
        for _ in range(3):
            optimizer.zero_grad()
            loss_fn(model(X[:BATCH]), Y[:BATCH]).backward()
            optimizer.step()
    assert doctor.findings[0].code == "numerics.nonfinite"
    assert doctor.findings[0].evidence["step"] == 2


def test_the_scale_of_a_grad_scaler_is_left_out_of_the_gradient() -> None:
    """Whether the scaler unscales before the step or the optimiser within it."""
    norms = []
    for way in ("autocast", "grad_scaler", "grad_scaler_fused"):
        _, (doctor,), _ = train(way, 0.03, watched=True)
        norms.append(doctor.ledger.values("gradient.norm")[0])
        assert doctor.ledger.last("gradient.clip_ratio") == pytest.approx(1, rel=1e-3)
    assert norms[1] == pytest.approx(norms[0], rel=0.05)
    assert norms[2] == pytest.approx(norms[1], rel=1e-3)


def test_gradients_of_single_samples_are_accepted() -> None:
    """Within torch.func nothing can be measured: its tensors must not leave it."""
    model, loss_fn = nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 4)), nn.CrossEntropyLoss()
    optimizer = sgd(model, 0.03)

    def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(model, weights, (x[None],)), y[None])

    with danlu.watch(model, optimizer, budget=math.inf) as doctor:
        for _ in range(5):
            weights = {name: p.detach() for name, p in model.named_parameters()}
            torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(weights, X[:8], Y[:8])
            optimizer.zero_grad()
            loss_fn(model(X[:BATCH]), Y[:BATCH]).backward()
            optimizer.step()
    assert doctor.ledger.last("run.finished") == 5
    assert len(doctor.ledger.values("loss.step")) == 5
    assert not doctor.ledger.has("run.unseen")


@pytest.mark.parametrize("way", ["compiled", "compiled_in_place"])
def test_values_hidden_by_compilation_are_reported(way: str) -> None:
    _, (doctor,), _ = train(way, 0.03, watched=True)
    unseen = doctor.ledger.facts("run.unseen")
    assert "torch.compile hides" in unseen["layers"]
    assert ("replay" in unseen) == (way == "compiled_in_place")


@pytest.mark.slow
@pytest.mark.parametrize("way", BLIND)
def test_model_called_indirectly(way: str) -> None:
    _, (doctor,), _ = train(way, 0.03, watched=True)
    assert "watch the one that is called" in doctor.ledger.facts("run.unseen")["passes"]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["compiled", "compiled_in_place", "compiled_outside"])
def test_nothing_of_the_doctor_is_compiled(way: str) -> None:
    train(way, 0.03, watched=False)
    alone = list(GRAPHS)
    train(way, 0.03, watched=True)
    assert alone
    assert alone == GRAPHS


def test_attention_without_gradients_takes_the_same_kernels() -> None:
    """torch has faster ones there, which round otherwise, but not under a TorchFunctionMode."""
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    model = nn.Sequential(nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(16 * 9, 3))
    x, y = torch.randn(8, 9, 16), torch.randint(3, (8,))

    def validated() -> tuple[Tensor, Tensor]:
        model.eval()
        with torch.no_grad():
            outputs = model(x)
            return outputs, F.cross_entropy(outputs, y)

    alone = validated()
    optimizer = sgd(model, 0.0)
    with danlu.watch(model) as doctor:
        for _ in range(2):
            model.train()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            watched = validated()
            with pytest.raises(RuntimeError, match="mat1"), torch.no_grad():  # the call breaks down
                model(torch.randn(8, 7, 16))
        with torch.device("cpu"):  # a mode of the user's own lies on top
            validated()
    assert all(torch.equal(a, b) for a, b in zip(alone, watched, strict=True))
    assert doctor.ledger.values("loss.mean", "val")
    assert torch.overrides._get_current_function_mode() is None


@pytest.mark.slow
def test_two_processes(tmp_path) -> None:
    script = Path(__file__).with_name("two_processes.py")
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, timeout=200)
    for rank in (0, 1):
        seen = json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8"))
        assert seen["alone"]["losses"] == seen["watched"]["losses"]
        assert seen["alone"]["weights"] == seen["watched"]["weights"]
        assert not seen["watched"]["codes"]
        assert seen["watched"]["hooks"] == 0
        assert "clipping" in seen["watched"]["unseen"]
        assert "optim.lr_too_high" in seen["high"]["codes"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None and shutil.which("g++") is None, reason="inductor needs a compiler")
def test_inductor_without_settings() -> None:
    results = []
    for watched in (False, True):
        torch.compiler.reset()
        model = torch.compile(network())
        optimizer, losses = sgd(model, 0.03), []
        torch.manual_seed(0)
        with danlu.watch(model, budget=math.inf) if watched else nullcontext():
            for _ in range(20):
                loss = F.cross_entropy(model(X[:BATCH]), Y[:BATCH])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(float(loss.detach()))
        results.append((losses, [p.tolist() for p in model.parameters()]))
    assert results[0] == results[1]

"""`danlu.watch()` without a model: every training of a program is found and its results stay bit for bit."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import danlu
from danlu.doctor.script.program import ProgramDoctor


def data(n: int = 256) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, 12, generator=torch.Generator().manual_seed(1))
    return x, (x[:, :3] + 0.1 * x[:, 3:6]).argmax(1)


def net(inputs: int = 12, outputs: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, outputs))


def classifier(epochs: int = 3, clear: bool = True, loss_fn: Callable = F.cross_entropy) -> list[nn.Module]:
    x, y = data()
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    train = DataLoader(TensorDataset(x[:192], y[:192]), 16, shuffle=True)
    val = DataLoader(TensorDataset(x[192:], y[192:]), 32)
    for _ in range(epochs):
        model.train()
        for inputs, targets in train:
            if clear:
                optimizer.zero_grad()
            loss_fn(model(inputs), targets).backward()
            optimizer.step()
        scheduler.step()
        model.eval()
        with torch.no_grad():
            for inputs, targets in val:
                loss_fn(model(inputs), targets)
    return [model]


def gan(steps: int = 12) -> list[nn.Module]:
    generator, discriminator = net(4, 2), net(2, 1)
    for_g = torch.optim.Adam(generator.parameters(), 1e-3)
    for_d = torch.optim.Adam(discriminator.parameters(), 1e-3)
    loss_fn = nn.BCEWithLogitsLoss()
    for _ in range(steps):
        discriminator.zero_grad()
        loss_fn(discriminator(torch.randn(16, 2) + 3), torch.ones(16, 1)).backward()
        fake = generator(torch.randn(16, 4))
        loss_fn(discriminator(fake.detach()), torch.zeros(16, 1)).backward()
        for_d.step()
        generator.zero_grad()
        loss_fn(discriminator(fake), torch.ones(16, 1)).backward()
        for_g.step()
    return [generator, discriminator]


def autoencoder(steps: int = 20) -> list[nn.Module]:
    x, _ = data()
    encoder, decoder = nn.Linear(12, 4), nn.Linear(4, 12)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        ((decoder(encoder(x)) - x) ** 2).mean().backward()
        optimizer.step()
    return [encoder, decoder]


def without_optimizer(steps: int = 20) -> list[nn.Module]:
    x, y = data()
    model = net()
    for _ in range(steps):
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()
        with torch.no_grad():
            for p in model.parameters():
                p.sub_(p.grad, alpha=0.1)  # type: ignore[arg-type]
    return [model]


def beside_another(steps: int = 20) -> list[nn.Module]:
    """A hand-made update while the optimizer of an earlier training is still alive."""
    _ = torch.optim.SGD(net().parameters(), lr=0.1)
    return without_optimizer(steps)


PROGRAMS = {f.__name__: f for f in (classifier, gan, autoencoder, without_optimizer, beside_another)}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_results_are_bit_for_bit_the_same(program: Callable[[], list[nn.Module]]) -> None:
    torch.manual_seed(0)
    plain = [p for model in program() for p in model.parameters()]
    after = torch.rand(4)
    torch.manual_seed(0)
    with ProgramDoctor(say=lambda line: None, budget=float("inf")) as doctor:
        watched = [p for model in program() for p in model.parameters()]
    assert torch.equal(torch.rand(4), after), "the random generator was disturbed"
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))
    assert len(doctor.trainings) == (2 if program is gan else 1)


def test_all_hooks_are_removed() -> None:
    names = ("cross_entropy", "mse_loss", "binary_cross_entropy_with_logits")
    before = [getattr(F, name) for name in names], torch.autograd.backward, DataLoader.__iter__
    hooks = torch.nn.modules.module._global_forward_pre_hooks
    with ProgramDoctor(say=lambda line: None):
        assert getattr(F, names[0]) is not before[0][0]
        (model,) = classifier(1)
    assert ([getattr(F, name) for name in names], torch.autograd.backward, DataLoader.__iter__) == before
    assert not hooks
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def test_epochs_come_from_the_loader_and_the_fault_is_found(tmp_path: Path) -> None:
    torch.manual_seed(0)
    lines: list[str] = []
    with ProgramDoctor(say=lines.append, out=tmp_path / "out") as doctor:
        classifier(epochs=3, clear=False)
    (training,) = doctor.trainings
    assert (training.name, training.kind, training.loader_kind) == ("model", "Sequential", "DataLoader")
    assert len(training.ledger.values("run.steps")) == 3
    assert training.ledger.last("run.forwards", "val") == 6
    assert training.ledger.last("loss.kind") == "cross_entropy"
    assert doctor.findings[0].code == "loop.missing_zero_grad"
    assert any("loop.missing_zero_grad" in line and line.startswith("danlu: model, step") for line in lines)
    assert (
        lines[-1]
        == f"danlu: report in {tmp_path / 'out' / 'doctor.html'}, findings in {tmp_path / 'out' / 'findings.json'}"
    )
    written = json.loads((tmp_path / "out" / "findings.json").read_text(encoding="utf-8"))
    assert written["trainings"][0]["findings"][0]["code"] == "loop.missing_zero_grad"
    assert written["schedulers"] == ["CosineAnnealingLR"]
    assert "loop.missing_zero_grad" in (tmp_path / "out" / "doctor.html").read_text(encoding="utf-8")


def test_a_loss_written_by_hand_is_the_tensor_of_backward() -> None:
    def by_hand(outputs: Tensor, targets: Tensor) -> Tensor:
        return (torch.logsumexp(outputs, 1) - outputs.gather(1, targets[:, None])[:, 0]).mean()

    torch.manual_seed(0)
    with ProgramDoctor(say=lambda line: None, budget=float("inf")) as doctor:
        classifier(epochs=2, loss_fn=by_hand)
    losses = doctor.trainings[0].ledger.values("loss.step")
    assert len(losses) == 24
    torch.manual_seed(0)
    with ProgramDoctor(say=lambda line: None, budget=float("inf")) as other:
        classifier(epochs=2)
    assert losses == pytest.approx(other.trainings[0].ledger.values("loss.step"), rel=1e-5)


def test_a_loss_behind_a_scaler_is_seen_unscaled() -> None:
    x, y = data()
    model = nn.Linear(12, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with ProgramDoctor(say=lambda line: None) as doctor:
        for _ in range(4):
            optimizer.zero_grad()
            loss = ((model(x) - F.one_hot(y, 3)) ** 2).mean()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    assert doctor.trainings[0].ledger.values("loss.step")[-1] == pytest.approx(loss.item(), rel=1e-5)


def test_models_trained_against_each_other_keep_their_own_losses() -> None:
    torch.manual_seed(0)
    with ProgramDoctor(say=lambda line: None, budget=float("inf")) as doctor:
        gan()
    discriminator, generator = doctor.trainings
    assert (discriminator.name, generator.name) == ("discriminator", "generator")
    assert discriminator.adversarial
    assert generator.adversarial
    assert not [finding.code for finding in doctor.findings if finding.severity == "error"]
    for training in doctor.trainings:
        assert training.ledger.last("run.finished") == 12
    # The first step is not known yet; then the discriminator has two losses a step and not the generator's.
    micro = discriminator.ledger.values("optimizer.micro_batches")
    assert set(micro[2:]) <= {2}
    assert len(doctor.not_found) == 4


def test_parts_with_one_optimizer_are_one_training() -> None:
    with ProgramDoctor(say=lambda line: None) as doctor:
        autoencoder()
    (training,) = doctor.trainings
    assert training.name == "encoder + decoder"
    assert training.kind == "Linear + Linear"
    assert training.ledger.last("loss.kind") == "mse"
    assert set(training.ledger.facts("parameter.size")) == {
        f"{part}.{name}" for part, name in itertools.product(("encoder", "decoder"), ("weight", "bias"))
    }


def test_a_program_that_trains_nothing() -> None:
    lines: list[str] = []
    with ProgramDoctor(say=lines.append):
        net()(torch.randn(2, 12))
    assert len(lines) == 1
    assert "No training was found" in lines[0]


def test_the_models_of_ended_trainings_are_freed() -> None:
    import gc
    import weakref

    with ProgramDoctor(say=lambda line: None) as doctor:
        first = weakref.ref(classifier(1)[0])
        gc.collect()
        classifier(1)
        gc.collect()
        assert first() is None
    assert [one.name for one in doctor.trainings] == ["model", "model2"]


def test_watch_without_a_model_watches_the_program() -> None:
    with danlu.watch() as doctor:
        classifier(1)
    assert isinstance(doctor, ProgramDoctor)
    assert str(doctor).startswith("danlu watched model (Sequential, SGD): steps 12, epochs 1")


def test_a_notebook_loads_it_as_an_extension(capsys: pytest.CaptureFixture[str]) -> None:
    """The shell is the part of IPython's interface that the extension uses; the trainings are real."""

    class Shell:
        def __init__(self) -> None:
            self.events, self.names, self.callbacks = self, {}, []

        def push(self, names: dict) -> None:
            self.names.update(names)

        def register(self, event: str, callback: Callable) -> None:
            assert event == "post_run_cell"
            self.callbacks.append(callback)

        def unregister(self, event: str, callback: Callable) -> None:
            self.callbacks.remove(callback)

    shell = Shell()
    danlu.load_ipython_extension(shell)
    classifier(epochs=2, clear=False)
    for callback in shell.callbacks:
        callback(None)
    assert "loop.missing_zero_grad" in capsys.readouterr().err
    assert shell.names["danlu_doctor"].findings
    danlu.unload_ipython_extension(shell)
    assert not shell.callbacks
    assert "danlu watched model" in capsys.readouterr().err


def test_parts_that_are_called_twice_in_a_step_are_no_validation() -> None:
    torch.manual_seed(0)
    x, _ = data()
    body, head = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU()), nn.Linear(16, 8)
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], 1e-3)
    with ProgramDoctor(say=lambda line: None) as doctor:
        for start in [*range(0, 256, 16)] * 3:
            one, other = (head(body(x[start : start + 16] + 0.1 * torch.randn(16, 12))) for _ in range(2))
            loss = F.cross_entropy(F.normalize(one, dim=1) @ F.normalize(other, dim=1).T / 0.2, torch.arange(16))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    (training,) = doctor.trainings
    assert training.ledger.last("run.forwards", "val") == 0
    assert [one.code for one in doctor.findings if one.severity != "note"] == []

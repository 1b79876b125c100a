"""The Lightning callback: training is unchanged, hooks are removed, no false findings, faults found."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks
from torch.utils.data import DataLoader, TensorDataset

import danlu

lightning = pytest.importorskip("lightning.pytorch", reason="Lightning is not installed")

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(320, 20, generator=GENERATOR)
Y = (X[:, :4] + 0.3 * torch.randn(320, 4, generator=GENERATOR)).argmax(1)


class Own(lightning.LightningModule):
    """training_step calls the module itself."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any, index: int) -> Tensor:
        return F.cross_entropy(self.scores(batch[0]), batch[1])

    def validation_step(self, batch: Any, index: int) -> None:
        scores = self.scores(batch[0])
        self.log("val_loss", F.cross_entropy(scores, batch[1]))
        self.log("val_accuracy", (scores.argmax(1) == batch[1]).float().mean())

    def scores(self, x: Tensor) -> Tensor:
        return self(x)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), self.rate, momentum=0.9)


class Inner(Own):
    """It calls a network in the module."""

    def scores(self, x: Tensor) -> Tensor:
        return self.net(x)


class Parts(Own):
    """It calls parts of the module, one by one."""

    def __init__(self, rate: float) -> None:
        super().__init__(rate)
        self.net = None  # type: ignore[assignment]
        self.encoder = nn.Sequential(nn.Linear(20, 32), nn.ReLU())
        self.decoder = nn.Linear(32, 4)

    def scores(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


def fit(kind: type[Own], rate: float = 0.03, watched: bool = True, **settings: Any) -> tuple[Any, Any, list[str]]:
    """The module, the callback and what it said."""
    torch.manual_seed(3)
    module, said = kind(rate), []
    doctor = danlu.LightningDoctor(budget=float("inf"), say=said.append) if watched else None
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = {"max_epochs": 4, "accelerator": "cpu"} | quiet | settings
        trainer = lightning.Trainer(callbacks=[doctor] if doctor else [], **given)
        trainer.fit(
            module,
            DataLoader(TensorDataset(X[:256], Y[:256]), 32, shuffle=True),
            DataLoader(TensorDataset(X[256:], Y[256:]), 32),
        )
    return module, doctor, said


def codes(doctor: Any) -> list[str]:
    """Without those on speed: so small a network does wait for its data."""
    found = [f.code for f in doctor.findings if f.severity != "note"]
    return [code for code in found if not code.startswith("speed.")]


@pytest.mark.parametrize("kind", [Own, Inner, Parts])
def test_same_bits_and_no_alarm(kind: type[Own]) -> None:
    alone, _, _ = fit(kind, watched=False)
    watched, doctor, said = fit(kind)
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), watched.parameters(), strict=True))
    assert not codes(doctor)
    assert not [line for line in said if "speed." not in line]
    ledger = doctor.doctor.ledger
    assert ledger.last("run.finished") == 4 * 8
    assert ledger.series("loss.mean", "val")[0] == [1, 2, 3, 4]
    assert ledger.last("user.metric", "val_accuracy") == pytest.approx(ledger.last("accuracy.mean", "val"), abs=1e-6)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in watched.modules())
    assert not module_hooks._global_forward_hooks
    assert not module_hooks._global_forward_pre_hooks
    assert not optimizer_hooks._global_optimizer_pre_hooks
    assert not optimizer_hooks._global_optimizer_post_hooks


def test_gradients_are_those_of_the_step() -> None:
    """Lightning computes them in a closure, after optimizer.step was called."""
    _, doctor, _ = fit(Inner, gradient_clip_val=0.01)
    ledger = doctor.doctor.ledger
    assert max(ledger.values("gradient.norm")) <= 0.01 * 1.001
    assert max(ledger.values("gradient.clip_ratio")) < 0.5
    assert codes(doctor) == ["optim.clipping_always"]
    assert ledger.last("gradient.norm") == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("kind", [Own, Inner, Parts])
def test_lr_far_too_high_is_found_and_reported(kind: type[Own]) -> None:
    _, doctor, said = fit(kind, rate=30.0)
    assert codes(doctor)[0] == "optim.lr_too_high"
    assert said[0].startswith("error: optim.lr_too_high")


def test_accumulation_and_a_page(tmp_path) -> None:
    _, doctor, _ = fit(Inner, accumulate_grad_batches=4)
    ledger = doctor.doctor.ledger
    assert ledger.last("run.finished") == 4 * 2
    assert ledger.last("optimizer.micro_batches") == 4
    assert ledger.last("batch.size") == 128
    assert "<html" in doctor.doctor.report(tmp_path / "doctor.html").read_text(encoding="utf-8")


def test_failed_training_leaves_a_valid_folder() -> None:
    class Breaks(Inner):
        def training_step(self, batch: Any, index: int) -> Tensor:
            if index == 3:
                raise ValueError("broken")
            return super().training_step(batch, index)

    with pytest.raises(ValueError, match="broken"):
        fit(Breaks)
    assert not module_hooks._global_forward_hooks
    assert not module_hooks._global_forward_pre_hooks

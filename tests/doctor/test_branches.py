"""Networks with branches, outputs initialised to zero, and misused schedulers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import danlu


class Heads(nn.Module):
    """A pyramid of two levels; each level's output begins at zero, and one of them has nothing to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.lateral = nn.ModuleList(nn.Conv2d(8, 8, 1) for _ in range(2))
        self.smooth = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))
        self.see = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))
        self.say = nn.ModuleList(nn.Conv2d(8, 4, 1) for _ in range(2))
        for layer in self.say:
            nn.init.zeros_(layer.weight)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        fine = F.relu(self.stem(x))
        coarse = F.relu(self.deep(fine))
        top = self.lateral[1](coarse)
        levels = [self.lateral[0](fine) + F.interpolate(top, scale_factor=2), top]
        return [
            self.say[i](F.relu(self.see[i](F.relu(self.smooth[i](level))))).flatten(2).mean(2)
            for i, level in enumerate(levels)
        ]


def trained(model: nn.Module, loss, epochs: int = 4, schedule=None, early: bool = False) -> set[str]:
    torch.manual_seed(0)
    x = torch.randn(256, 3, 8, 8)
    y = (x[:, 0].mean((1, 2)) > 0).long() + 2 * (x[:, 1].mean((1, 2)) > 0)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    scheduler = schedule(optimizer) if schedule else None
    with danlu.watch(model, optimizer) as doctor:
        for _ in range(epochs):
            for part in torch.randperm(256).split(16):
                if scheduler and early:
                    scheduler.step()
                optimizer.zero_grad()
                loss(model(x[part]), y[part]).backward()
                optimizer.step()
            doctor.epoch()
    return {f.code for f in doctor.findings if f.severity != "note"}


def test_an_output_without_a_gradient_and_laterals_are_sound():
    found = trained(Heads(), lambda outputs, y: F.cross_entropy(outputs[0], y) + 0 * outputs[1].sum())
    wrong = {"gradient.exploding", "gradient.vanishing", "model.bad_init", "model.no_nonlinearity"}
    assert not found & {*wrong, "activation.collapsed"}


def test_all_weights_at_zero_are_still_found():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    assert "model.bad_init" in trained(model, F.cross_entropy)


@pytest.mark.filterwarnings("ignore:Detected call of")
def test_scheduler_before_the_optimiser():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 4))
    schedule = lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 64)  # noqa: E731
    assert "loop.scheduler_misuse" in trained(model, F.cross_entropy, schedule=schedule, early=True)
    assert "loop.scheduler_misuse" not in trained(model, F.cross_entropy, schedule=schedule)

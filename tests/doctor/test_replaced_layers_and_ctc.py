"""A layer that is replaced after its optimiser was made, and plain scores in a CTC loss."""

from __future__ import annotations

import pytest
import torch
from test_forum_questions import CLASSES, samples
from test_handwriting import found_in
from torch import nn
from torch.nn import functional as F


@pytest.mark.parametrize("late", [True, False])
def test_an_optimiser_of_the_layer_before_does_not_hold_the_one_that_replaced_it(late: bool) -> None:
    def program() -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, CLASSES))
        x, y = samples()

        def epochs(optimizer: torch.optim.Optimizer, count: int) -> None:
            for _ in range(count):
                for k in torch.randperm(len(x)).split(32):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x[k]), y[k]).backward()
                    optimizer.step()

        first = torch.optim.Adam(model.parameters(), 0.01)
        epochs(first, 2)
        model[0].requires_grad_(False)
        if not late:
            model[2] = nn.Linear(16, CLASSES)
        second = torch.optim.Adam(model[2].parameters(), 0.01)
        if late:
            model[2] = nn.Linear(16, CLASSES)
        epochs(second, 4)

    found = found_in(program)
    assert ("loop.params_not_in_optimizer" in found) is late
    assert "loop.optimizer_recreated" not in found


@pytest.mark.parametrize("scores", [True, False])
def test_ctc_expects_logarithms_of_probabilities(scores: bool) -> None:
    def program() -> None:
        torch.manual_seed(0)
        model = nn.Linear(8, 6)
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(12):
            outputs = model(torch.randn(16, 20, 8)).permute(1, 0, 2)
            outputs = outputs if scores else outputs.log_softmax(-1)
            labels, lengths = torch.randint(1, 6, (16, 5)), torch.full((16,), 5)
            optimizer.zero_grad()
            F.ctc_loss(outputs, labels, torch.full((16,), 20), lengths).backward()
            optimizer.step()

    assert ("model.output_mismatch" in found_in(program)) is scores

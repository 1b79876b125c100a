"""Findings that a run could be checked for, on real trainings of a small network."""

from __future__ import annotations

import torch
from torch import nn

import danlu
from danlu.doctor.diagnose import judged
from danlu.doctor.findings.table import FINDINGS
from danlu.doctor.ledger import Ledger


def trained(*, validate: bool, loss_fn: nn.Module | None = None) -> Ledger:
    """Ledger of three epochs on three linearly separable classes (or their sum as a number, for MSELoss)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3))
    loss_fn = loss_fn or nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    x = torch.randn(512, 20)
    y = x[:, :3] if isinstance(loss_fn, nn.MSELoss) else x[:, :3].argmax(1)
    with danlu.watch(model, optimizer, loss_fn, budget=0.9) as doctor:
        for _ in range(3):
            model.train()
            for i in range(0, 384, 32):
                optimizer.zero_grad()
                loss_fn(model(x[i : i + 32]), y[i : i + 32]).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                for i in range(384, 512, 32) if validate else ():
                    loss_fn(model(x[i : i + 32]), y[i : i + 32])
            doctor.epoch()
    return doctor.ledger


def test_complete_training_is_judged_except_inapplicable_findings() -> None:
    checked = judged(trained(validate=True))
    assert checked.not_judged == []
    boxes_and_metrics, label_maps, next_items, regression, pretraining, poses = 5, 3, 1, 1, 4, 10
    padded, sampling, other_models, order = 1, 1, 2, 1
    inapplicable = boxes_and_metrics + label_maps + next_items + regression + pretraining + poses
    discarded, short_numbers, derivatives = 1, 1, 1  # micro-batches, 16-bit weights, differential equations
    own_functions = 1
    inapplicable += padded + sampling + other_models + order + discarded + short_numbers + derivatives + own_functions
    assert checked.n == len(FINDINGS) - inapplicable


def test_without_validation_the_fit_is_not_judged() -> None:
    checked = judged(trained(validate=False))
    codes = {one.code: str(one.why) for one in checked.not_judged}
    assert codes["fit.overfitting"] == "no validation pass was seen"
    assert "optim.lr_too_high" not in codes
    assert "no validation pass was seen" in checked.reasons()


def test_a_regression_needs_no_classes() -> None:
    codes = {one.code for one in judged(trained(validate=True, loss_fn=nn.MSELoss())).not_judged}
    assert not codes & {"fit.one_class", "data.imbalance", "data.label_noise", "data.not_shuffled"}


def test_an_empty_ledger_judges_nothing_that_rests_on_measurements() -> None:
    checked = judged(Ledger())
    assert checked.n == 0
    assert len(checked.not_judged) > 45

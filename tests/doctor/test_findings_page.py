"""The doctor's page of a plain loop shows findings and curves, and escapes texts of the user."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
import torch
from torch import nn

import danlu
from danlu.doctor.ledger import Ledger
from danlu.doctor.presentation.findings_page import write_page


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.lines = 0

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag != "meta":
            self.open.append(tag)
        self.lines += tag == "path" and ("class", "line a") in attrs

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_loop_that_never_clears_its_gradients(tmp_path, language: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer, loss_fn = torch.optim.SGD(model.parameters(), 0.05), nn.CrossEntropyLoss()
    x, y = torch.randn(256, 8), torch.randint(3, (256,))
    with danlu.watch(model, optimizer, loss_fn, language=language) as doctor:
        for _ in range(3):
            for i in range(0, 256, 32):
                loss_fn(model(x[i : i + 32]), y[i : i + 32]).backward()
                optimizer.step()
            doctor.epoch()
    page = doctor.report(tmp_path / "doctor.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert reader.lines >= 3
    assert "loop.missing_zero_grad" in page
    assert ("Gradients accumulate" if language == "en" else "梯度逐步累积") in page


@pytest.mark.parametrize("language", ["en", "zh"])
def test_reported_metrics_are_drawn_and_gaps_noted(tmp_path, language: str) -> None:
    ledger = Ledger()
    for epoch in (1, 2, 3):
        ledger.add("user.metric", 0.2 * epoch, "val_accuracy", epoch)
        ledger.add("user.metric", 0.1 * epoch, "val_f1", epoch)
        ledger.add("run.steps", 100 * epoch, "", epoch)
    for step in (1, 2, 3):
        ledger.add("loss.step", 1.0, "", step)
    ledger.add("run.finished", 300, "", 300)
    page = write_page(tmp_path / "doctor.html", ledger, [], language).read_text(encoding="utf-8")
    accuracy, rests = {"en": ("Accuracy of each epoch", "3 of 300 steps"), "zh": ("每轮的准确率", "全程 300 步")}[
        language
    ]
    assert accuracy in page
    assert "val_f1" in page
    assert rests in page

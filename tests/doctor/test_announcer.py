"""Findings are printed inside the `with` block, once, and a summary at its end."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import danlu
from danlu.doctor.finding import Finding
from danlu.doctor.presentation.announcer import Announcer


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4), nn.Softmax(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


def run(quiet: bool, watch: bool = True) -> tuple[danlu.watch, nn.Module]:
    """Softmax before cross entropy: one clear error, the layer being net.3."""
    torch.manual_seed(0)
    x = torch.randn(64, 8)
    model, loss = Net(), nn.CrossEntropyLoss()
    y = x[:, :4].argmax(1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with danlu.watch(model, optimizer, loss, quiet=quiet, budget=float("inf")) as doctor:
        for _ in range(3):
            for rows in torch.arange(64).split(8):
                optimizer.zero_grad()
                loss(model(x[rows]), y[rows]).backward()
                optimizer.step()
            doctor.epoch()
    return doctor, model


def test_findings_are_printed_as_they_arise(capsys: pytest.CaptureFixture[str]) -> None:
    doctor, loud = run(quiet=False)
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "model.output_mismatch (net.3)" in line]) == 1
    assert "Delete net.3" in lines[0]
    assert lines[-1].startswith("doctor: 24 steps watched; errors: 1")
    assert "error model.output_mismatch" in repr(doctor)
    assert "model.output_mismatch" in str(doctor)
    assert "<td" in doctor._repr_html_()
    assert {"findings", "report", "epoch"} <= set(dir(doctor))
    _, silent = run(quiet=True)
    for one, other in zip(loud.parameters(), silent.parameters()):
        assert torch.equal(one, other)


def test_code_to_paste_is_printed_in_lines_below_its_finding(capsys: pytest.CaptureFixture[str]) -> None:
    code = "if True:\n    x = 1"
    finding = Finding(
        "loop.no_update", "error", 1.0, "net\n.0", {}, title="T\nU", cause="C.", remedy="R.", snippet=code
    )
    Announcer(lambda: [finding], "en", quiet=False).look()
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("error: T\\nU")  # a name from the data stays in its line
    assert rest == ["    if True:", "        x = 1"]


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    doctor, _ = run(quiet=True)
    assert capsys.readouterr().out == ""
    assert doctor.findings[0].code == "model.output_mismatch"


def test_names_of_layers_inside_a_larger_module() -> None:
    model = Net()
    optimizer, loss = torch.optim.SGD(model.parameters(), 0.1), nn.CrossEntropyLoss()
    with danlu.watch(model.net, optimizer, loss, quiet=True, prefix="net") as doctor:
        for _ in range(4):
            loss(model.net(torch.randn(8, 8)), torch.randint(4, (8,))).backward()
            optimizer.step()
    assert {"net.0", "net.2"} <= set(doctor.ledger.facts("layer.kind"))


def test_a_finding_is_also_a_mapping() -> None:
    finding = Finding("fit.overfitting", "warning", 0.5, "val", {"gap": 0.2})
    assert finding["code"] == finding.code
    assert dict(finding) == finding.to_dict()
    assert Finding.from_dict(finding.to_dict()) == finding
    former = finding.to_dict() | {"evidence": {"share": 0.2, "shares": "text", "step": 3}}
    assert Finding.from_dict(former).evidence == {"fraction": 0.2, "details": "text", "step": 3}
    assert repr(finding) == "Finding('fit.overfitting', 'warning', confidence=0.50, 'val')"
    assert copy.deepcopy(finding) == finding

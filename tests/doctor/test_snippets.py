"""Code to paste: every snippet of every finding runs on a tiny training, and does what the finding says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_rules
import torch
import torch.nn.functional as F
from torch import nn

from danlu.doctor.findings.spec import Words
from danlu.doctor.findings.table import FINDINGS
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import readable
from danlu.doctor.wording import worded
from danlu.message import fields

# Evidence that fills the fields of snippets. A snippet with another field fails until it has a value here.
EVIDENCE = {"outputs": 3, "better": "CrossEntropyLoss", "kind": "LSTM", "dropout": 0.5, "above": 3.18}
OTHER = {"model.loss_mismatch:words:one_output": {"better": "BCEWithLogitsLoss"}}  # evidence of these snippets
REGRESSION = ("data.targets_not_scaled", "model.output_mismatch")  # findings of which the targets are real numbers


def tiny_training(regression: bool = False) -> dict[str, Any]:
    """The names that a snippet may use, as a usual training has them: 40 samples of 20 values, three classes."""
    torch.manual_seed(0)
    hidden = [nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.9)]
    model = nn.Sequential(*hidden, nn.Linear(64, 1 if regression else 3))
    x, y = torch.randn(40, 20), torch.randn(40) if regression else torch.randint(0, 3, (40,))
    loss_fn = nn.MSELoss() if regression else nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(list(model.parameters())[:-1], lr=1e-3)  # it lacks the last bias
    dataset = torch.utils.data.TensorDataset(x, y)
    outputs = model(x)
    loss = outputs.square().mean() if regression else loss_fn(outputs, y)
    modules = {"torch": torch, "nn": nn, "F": F, "np": np}
    training = {"model": model, "optimizer": optimizer, "loss_fn": loss_fn, "x": x, "y": y, "dataset": dataset}
    data = {"x_train": x[:32], "y_train": y[:32], "x_val": x[32:], "y_val": y[32:], "images": torch.rand(2, 8, 8, 3)}
    loop = {
        "loader": torch.utils.data.DataLoader(dataset, batch_size=20),
        "scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9),
        **{"epochs": 2, "outputs": outputs, "loss": loss, "total": 0.0, "kept": [], "device": "cpu", "self": model},
        **{"val_loss": 0.4, "best_loss": 0.5},
    }
    numbers = {name: torch.rand(5) for name in ("p", "squares", "a", "b", "scores", "cosine")}
    return modules | training | data | loop | numbers | {"rewards": torch.rand(40)}


def snippets() -> Iterator[tuple[str, str]]:
    """(code:wording:key, template) of every snippet."""
    for code, spec in FINDINGS.items():
        of_curves = spec.from_curves.words if spec.from_curves else None
        for name, words in (("words", spec.words), ("before", spec.before_training), ("curves", of_curves)):
            if isinstance(words, Words):
                several = words.snippet if not isinstance(words.snippet, str) else {"": words.snippet}
                yield from ((f"{code}:{name}:{key}", template) for key, template in several.items() if template)


ALL = dict(snippets())


def run(snippet: str, regression: bool = False) -> dict[str, Any]:
    """Run the code in the names of a tiny training; return them as they are afterwards."""
    names = tiny_training(regression)
    exec(compile(snippet, "snippet", "exec"), names)
    return names


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A snippet may save weights, and may turn on anomaly detection."""
    monkeypatch.chdir(tmp_path)
    yield
    torch.autograd.set_detect_anomaly(False)


def filled(id: str) -> str:
    known = EVIDENCE | OTHER.get(id, {})
    return ALL[id].format(**{name: readable(known[name]) for name in fields(ALL[id])})


@pytest.mark.parametrize("id", ALL)
def test_a_snippet_runs(id: str) -> None:
    run(filled(id), regression=id.partition(":")[0] in REGRESSION)


@pytest.mark.parametrize("code", [code for code in test_rules.CASES if FINDINGS[code].words.snippet])
def test_the_snippet_of_a_finding_runs(code: str) -> None:
    """Filled with the evidence that the rule gives."""
    found = list(FINDINGS[code].rule(test_rules.written(*test_rules.CASES[code][0])))
    assert found
    for finding in found:
        run(worded(finding).snippet, regression=code in REGRESSION)


@pytest.mark.parametrize(
    "broken", ["torch.optim.SGDD(model.parameters())", "optimizer.zero_grads()", "for m in model:"]
)
def test_a_broken_snippet_fails(broken: str) -> None:
    with pytest.raises((AttributeError, SyntaxError)):
        run(broken)


@pytest.mark.parametrize("code", ["optim.lr_too_high", "loop.scheduler_misuse"])
def test_evidence_chooses_a_snippet(code: str) -> None:
    words = FINDINGS[code].words
    assert isinstance(words.snippet, dict)
    for key, template in words.snippet.items():
        assert words.chosen_snippet({"fix": key}) == template
    assert words.chosen_snippet({"fix": "of no such name"}) == ""


@pytest.mark.parametrize("code", FINDINGS)
def test_code_stands_in_the_snippet_and_not_in_the_sentence(code: str) -> None:
    spec = FINDINGS[code]
    of_curves = spec.from_curves.words if spec.from_curves else None
    for words in filter(None, (spec.words, spec.before_training, of_curves)):
        assert not any(mark in words.fix for mark in ("for g in", "for m in", "loss_fn =", "optimizer =", "();"))


def lr(names: dict[str, Any]) -> float:
    return names["optimizer"].param_groups[0]["lr"]


def test_snippets_do_what_their_findings_say() -> None:
    assert lr(run(filled("optim.lr_too_high:words:"))) == pytest.approx(1e-4)
    assert lr(run(filled("optim.lr_too_low:words:"))) == pytest.approx(1e-2)
    names = run(filled("loop.params_not_in_optimizer:words:"))
    assert sum(len(group["params"]) for group in names["optimizer"].param_groups) == 6
    names = run(filled("fit.regularisation_too_strong:words:dropout"))
    assert [m.p for m in names["model"] if isinstance(m, nn.Dropout)] == [0.2]
    names = run(filled("activation.dead_relu:words:"))
    assert [type(m) for m in names["model"]][2] is nn.LeakyReLU
    names = run(filled("data.targets_not_scaled:words:"), regression=True)
    assert float(names["y_train"].mean()) == pytest.approx(0.0, abs=1e-5)
    names = run(filled("model.bad_init:words:head"))
    assert float(names["model"].eval()(names["x"]).detach().abs().max()) < 0.5
    names = run("x_train[3, 2] = float('nan')\n" + filled("numerics.nonfinite:words:data"))
    assert (len(names["x_train"]), len(names["y_train"])) == (31, 31)
    names = run("x_val[:3] = x_train[:3]\n" + filled("data.leak:words:"))
    assert len(names["x_val"]) == 5
    names = run("x_train[1] = x_train[0]\n" + filled("data.duplicates:words:copies"))
    assert len(names["x_train"]) == 31


def test_a_block_stands_below_the_sentence_and_in_the_page() -> None:
    finding = worded(next(iter(FINDINGS["loop.missing_zero_grad"].rule(ledger_without_zero_grad()))))
    assert str(finding).endswith("\n    loss.backward()\n    optimizer.step()")
    assert finding.to_dict()["snippet"] == finding.snippet
    assert "<pre>optimizer.zero_grad()" in finding._repr_html_()
    assert worded(finding, "zh").snippet == finding.snippet


def ledger_without_zero_grad() -> Ledger:
    return test_rules.written(*test_rules.CASES["loop.missing_zero_grad"][0])

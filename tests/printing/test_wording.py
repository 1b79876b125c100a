"""Output of the verbs with --lang zh: Chinese except for names, in aligned columns."""

from __future__ import annotations

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from danlu.advice import remedies
from danlu.cli import main
from danlu.message import message
from danlu.printing.healing import print_healing

CHINESE = re.compile("[一-鿿]")
CODE = re.compile(r"--[\w.-]+|[\w-]+(?:[./_][\w-]+)+|\d\S*")  # flags, names of settings and findings, paths, numbers
NAMES = {"digits", "scikit-learn", "task", "classify", "grey", "adamw", "one-cycle", "cross-entropy", "light", "mlp"}
NAMES |= {
    "precision",
    "MiB",
    "ReLU",
    "dropout",
    "softmax",
    "small-cnn",
    "report",
    "html",
    "run",
    "danlu",
    "train",
    "sample",
    "group",
}

ATTEMPT = {
    "finding": "optim.lr_too_high", "flags": "--optim.lr 0.01", "metric": "accuracy", "before": 0.6, "after": 0.9,
    "difference": 0.3, "noise": 0.1, "kept": True, "why": message("verdict.better", "better by more than the noise of {seeds} seeds", seeds=3),
}  # fmt: skip
HEALED = {
    "attempts": [ATTEMPT, ATTEMPT | {"finding": "fit.one_class", "kept": False}], "metric": "accuracy",
    "trials": message("split.random", "drawn at random"), "stopped": message("healing.budget", "the budget of {seconds:g} s is used up", seconds=600.0),
    "not_tried": [{"finding": "data.leak", "why": remedies.why_not("data.leak")}],
    "before": 0.6, "after": 0.9, "command": "danlu train --config run/config.yaml --optim.lr 0.01",
}  # fmt: skip


def english(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z][A-Za-z-]+", CODE.sub("", text))) - NAMES


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run with findings, and what was printed of its training."""
    run, out = tmp_path_factory.mktemp("told") / "run", StringIO()
    with redirect_stdout(out):
        settings = ["--model", "mlp", "--epochs", "2", "--lr", "3", "--device", "cpu", "--precision", "fp32"]
        assert main(["train", "digits", *settings, "--lang", "zh", "--out", str(run)]) == 0
    return run, out.getvalue().replace(str(run), "run")


def test_a_training(told: tuple[Path, str]) -> None:
    _, text = told
    assert english(text) <= {"top", "ece"}  # names of metrics
    for said in (
        "设置项",
        "原因",
        "验证集和测试集按类别分层抽取",
        "第 1/2 轮",
        "准确率",
        "2 轮，",
    ):
        assert said in text


@pytest.mark.parametrize("target", ["run", "digits"])
def test_the_doctor(target: str, told: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = told
    assert main(["doctor", str(run) if target == "run" else target, "--lang", "zh"]) == 0
    text = capsys.readouterr().out
    assert CHINESE.search(text)
    assert english(text) == set()


def test_a_healing_and_its_columns() -> None:
    console = Console(file=StringIO(), width=140)
    print_healing(console, HEALED, "zh")
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert english(text) == set()
    head, first, second = text.splitlines()[:3]
    for word, values in (("改动", ("--optim.lr",) * 2), ("之后", ("90.00",) * 2), ("保留", ("是", "否"))):
        places = [
            cell_len(line[: line.index(cell)]) for line, cell in ((head, word), (first, values[0]), (second, values[1]))
        ]
        assert len(set(places)) == 1, word
    console = Console(file=StringIO(), width=140)
    print_healing(console, HEALED)
    assert not CHINESE.search(console.file.getvalue())  # type: ignore[attr-defined]


def test_a_report_in_the_other_language(told: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = told
    page, kept = run / "report.html", (run / "findings.json").read_text(encoding="utf-8")
    own = page.read_text(encoding="utf-8")
    assert main(["report", str(run), "--lang", "en"]) == 0
    other = page.read_text(encoding="utf-8")
    assert '<html lang="en">' in other
    assert not CHINESE.search(re.sub(r"<script.*?</script>", "", other, flags=re.DOTALL)), "findings are said anew"
    assert main(["report", str(run)]) == 0
    assert page.read_text(encoding="utf-8") == own
    assert (run / "findings.json").read_text(encoding="utf-8") == kept
    assert main(["report", str(run), "--lang", "fr"]) == 2
    assert "one of en, zh" in capsys.readouterr().err

"""The lines printed at the end of a training."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from danlu.config import Config, dump_yaml, with_values
from danlu.printing.results import figures, print_result
from danlu.run.folder import Run
from danlu.run.summary import Summary

FINDING = {
    "code": "optim.lr_too_high",
    "severity": "warning",
    "title": "T",
    "cause": "C.",
    "remedy": "R.",
    "where": "",
    "evidence": {},
    "confidence": 0.9,
    "consequences": [],
}


@pytest.mark.parametrize(
    ("language", "whole", "title"),
    [
        ("en", "warning: T [optim.lr_too_high]. C. R.", "warning: T [optim.lr_too_high]"),
        ("zh", "警告：T〔optim.lr_too_high〕。C.R.", "警告：T〔optim.lr_too_high〕"),
    ],
)
def test_a_finding_that_was_printed_is_named_by_its_title(
    tmp_path: Path, language: str, whole: str, title: str
) -> None:
    run = Run.create(str(tmp_path / "run"))
    run.write_text("config.yaml", dump_yaml(with_values(Config(), {"lang": language})))
    summary = Summary.from_json({"epochs": 1, "seconds": 1.0, "samples_per_second": 1.0, "findings": [FINDING]})
    printed = []
    for _ in range(2):
        file = io.StringIO()
        print_result(Console(file=file, width=200), run, summary)
        printed.append(file.getvalue().splitlines()[0])
    run.unlock()
    assert printed == [whole, title]


@pytest.mark.parametrize(("classes", "shown"), [(3, False), (5, False), (6, True), (0, True)])
def test_top5_of_five_classes_is_not_shown(classes: int, shown: bool) -> None:
    line = figures({"accuracy": 0.5, "top5": 1.0, "ece": float("nan")}, [str(k) for k in range(classes)])
    assert ("top5 1.0000" in line, "accuracy 0.5000" in line, "ece" in line) == (shown, True, False)

"""Data, runs and configs that do not exist are refused before torch is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from danlu.console.missing import refuse_missing
from danlu.refuse import Refusal

MISSING = [
    ["train", "nosuchthing"],
    ["train", "folder/nothing"],
    ["train"],
    ["train", "--config", "no.yaml"],
    ["describe", "mnst"],
    ["convert", "nosuchthing", "--to", "coco"],
    ["predict", "runs/99", "x.png"],
    ["evaluate", "runs/99"],
    ["export", "runs/99"],
    ["compare", "runs/98", "runs/99"],
    ["train", "digits", "--model", "resnet88"],
    ["train", "digits", "--model", "lenett"],
    ["diagnose", "digits", "--model", "lennet"],
    ["inspect", "lennet"],
    ["inspect", "--compare", "lenet", "lennet"],
    ["export", "mine"],
    ["serve", "notes.txt"],
    ["serve", "mine", "--port", "8000"],
    ["live", "runs/99"],
    ["live", "mine"],
    ["live", ".", "--port", "x"],
    ["runs", "runs/99"],
    ["watch", "--out", "notes.txt", "mine/train.py"],
]
PROGRAM = """
import json, sys
from danlu.cli import main
codes = [main(words) for words in json.loads(sys.argv[1])]
print(json.dumps([codes, "torch" in sys.modules]))
"""


def test_torch_is_not_imported_to_refuse_what_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.py").write_text("print('this must not run')")
    (tmp_path / "notes.txt").write_text("no run")
    words = [sys.executable, "-c", PROGRAM, json.dumps(MISSING)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[2] * len(MISSING), False]
    assert "must not run" not in done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == len(MISSING)
    assert all(line.startswith("danlu: ") for line in lines)


def test_runs_are_listed_without_torch(tmp_path: Path) -> None:
    (tmp_path / "runs" / "1").mkdir(parents=True)
    (tmp_path / "runs" / "1" / "config.yaml").write_text("data: {path: digits}\nmodel: {name: lenet}\n")
    words = [sys.executable, "-c", PROGRAM, json.dumps([["runs"], ["runs", "--sort", "-val", "--lang", "zh"]])]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    *tables, last = done.stdout.splitlines()
    assert json.loads(last) == [[0, 0], False]
    assert sum("runs/1" in line and "lenet" in line for line in tables) == 2


def test_names_and_files_that_exist_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DANLU_DATA", str(tmp_path / "root"))
    (tmp_path / "root" / "cells-jpeg").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for data in ("digits", "mine", "cells", "cells-jpeg", "my.py:make", str(tmp_path / "mine")):
        refuse_missing({"data.path": data})
    refuse_missing({"data.path": None, "resume": "runs/1"})
    (tmp_path / "mine" / "config.yaml").write_text("")
    (tmp_path / "found.JSON").write_text("[]")
    refuse_missing({"run": "mine", "data": "mine", "port": "0"})
    refuse_missing({"run": "found.JSON"})
    refuse_missing({"folder": ".", "port": None})
    for model in ("lenet", "yolo-nano", "timm/any", "my.py:make", "own:Net", "", None):
        refuse_missing({"model.name": model})
        refuse_missing({"model": model, "compare": ["resnet18"]})
    for data in ("minne", "cell", "*", "./none/x"):
        with pytest.raises(Refusal, match="DATA"):
            refuse_missing({"data.path": data})


def test_hidden_files_are_offered_for_hidden_names_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".digitt").mkdir()
    with pytest.raises(Refusal) as refused:
        refuse_missing({"data.path": "digitz"})
    assert ".digitt" not in str(refused.value)
    with pytest.raises(Refusal, match="\\.digitt"):
        refuse_missing({"data.path": ".digit"})

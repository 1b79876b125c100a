"""Outputs of evaluate and predict besides their metrics: confusion matrix, mistakes, page and csv."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from danlu.cli import main
from danlu.inference.prediction import Detection, Prediction
from danlu.inference.prediction_csv import write_csv


def rows_of(file):
    with file.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def test_evaluate_gives_confusion_mistakes_and_a_page(digits_run, tmp_path):
    result = digits_run.evaluate(part="val", out=tmp_path / "page.html")
    matrix = np.array(result.confusion)
    wrong = int(matrix.sum() - matrix.trace())
    assert matrix.shape == (10, 10)
    assert matrix.sum() == result.samples
    assert matrix.trace() / matrix.sum() == pytest.approx(result.metrics.val.accuracy)
    assert len(result.mistakes) == min(wrong, 24)
    assert all(one["true"] != one["said"] for one in result.mistakes)
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png") >= len(result.mistakes)
    json.dumps(result.to_json())


def test_the_command_prints_them_and_writes_the_page_into_the_run(digits_run, capsys):
    page = digits_run.folder / "evaluation.html"
    assert main(["evaluate", str(digits_run.folder), "--part", "val"]) == 0
    said = capsys.readouterr().out
    assert "true \\ predicted" in said
    assert "most confident" in said
    assert f"page: {page}" in said
    page.unlink()


def test_a_page_that_cannot_be_written_is_refused(digits_run, tmp_path, capsys):
    assert main(["evaluate", str(digits_run.folder), "--part", "val", "--out", str(tmp_path / "none" / "x.html")]) == 2
    assert "--out" in capsys.readouterr().err


def test_predictions_as_csv(digits_run, tmp_path, capsys):
    image = tmp_path / "=1+1.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(image)
    file = tmp_path / "table.csv"
    argv = ["predict", str(digits_run.folder), str(image), "--csv", str(file), "--out", str(tmp_path / "marked")]
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert f"table: {file}" in said
    assert str(tmp_path / "marked") in said
    (row,) = rows_of(file)
    assert row["path"] == str(image)
    assert float(row[f"p({row['class']})"]) == float(row["confidence"])
    assert sum(float(v) for k, v in row.items() if k.startswith("p(")) == pytest.approx(1, abs=1e-4)


def test_objects_errors_and_formulas_as_csv(tmp_path):
    box = Detection("=HYPERLINK()", 0.5, [1.0, 2.0, 3.0, 4.0])
    made = [
        Prediction("a.png", objects=[box, box]),
        Prediction("b.png", objects=[]),
        Prediction("c.png", error="truncated"),
    ]
    rows = rows_of(write_csv(made, tmp_path / "objects.csv"))
    assert [row["path"] for row in rows] == ["a.png", "a.png", "b.png", "c.png"]
    assert rows[0]["class"] == "'=HYPERLINK()"
    assert [rows[0][side] for side in ("left", "top", "right", "bottom")] == ["1.0", "2.0", "3.0", "4.0"]
    assert rows[3]["error"] == "truncated"


@pytest.mark.parametrize("file", ["table.txt", "none/table.csv", "folder.csv"])
def test_a_csv_that_cannot_be_written_is_refused_before_the_work(file, digits_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    assert main(["predict", str(digits_run.folder), "nowhere.png", "--csv", file]) == 2
    assert "--csv must be" in capsys.readouterr().err

import json

import numpy as np
import pandas
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import danlu
from danlu import cli


def test_digits(tmp_path):
    found = danlu.describe("digits", out=tmp_path / "sheet.png")
    assert found["task"] == "classify"
    assert found["samples"] == 1797
    assert sum(found["counts"].values()) == 1797
    counts = np.bincount(load_digits().target)
    assert [sum(row.values()) for row in found["classes"].values()] == counts.tolist()
    assert found["sizes"]["height"] == [8, 8, 8]
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert min(sheet.size) > 50


def test_a_folder_with_a_broken_file(coloured, tmp_path):
    import shutil

    shutil.copytree(coloured, tmp_path / "data")
    (tmp_path / "data" / "red" / "broken.png").write_bytes(b"nothing")
    found = danlu.describe(tmp_path / "data", out=tmp_path / "sheet.png")
    assert [*found["classes"]] == ["blue", "green", "red"]
    assert found["samples"] == 72
    assert found["channels"] == 3
    assert len(found["problems"]) == 1
    assert "broken.png" in found["problems"][0]["where"]
    assert 14 <= found["sizes"]["height"][0] <= found["sizes"]["height"][2] < 24


def test_a_table(houses):
    found = danlu.describe(houses, target="price")
    frame = pandas.read_csv(houses)
    assert found["task"] == "regress"
    assert found["targets"]["price"]["mean"] == pytest.approx(frame["price"].mean(), rel=1e-5)
    assert found["targets"]["price"]["std"] == pytest.approx(frame["price"].std(), rel=1e-5)
    assert found["contact_sheet"] is None


def test_the_command(capfd, tmp_path):
    argv = ["data", "digits", "--out", str(tmp_path / "sheet.png")]
    assert cli.main(argv) == 0
    assert "1,797 samples" in capfd.readouterr().out
    assert cli.main([*argv, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["samples"] == 1797

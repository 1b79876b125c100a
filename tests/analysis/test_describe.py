import json
import shutil

import numpy as np
import pandas
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import danlu
from danlu import cli
from danlu.message import speaking


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
    shutil.copytree(coloured, tmp_path / "data")
    (tmp_path / "data" / "red" / "broken.png").write_bytes(b"nothing")
    found = danlu.describe(tmp_path / "data", out=tmp_path / "sheet.png")
    assert [*found["classes"]] == ["blue", "green", "red"]
    assert found["samples"] == 72
    assert found["channels"] == 3
    assert len(found["problems"]) == 1
    assert "broken.png" in found["problems"][0]["where"]
    assert 14 <= found["sizes"]["height"][0] <= found["sizes"]["height"][2] < 24


def test_reason_of_a_stop_is_shown(coloured, tmp_path):
    shutil.copytree(coloured, tmp_path / "data")
    (tmp_path / "data" / "violet").mkdir()
    found = danlu.describe(tmp_path / "data")
    assert [*found["classes"]] == ["blue", "green", "red"]
    stops = found["problems"][0]
    assert stops["done"] == "training stops at"
    assert stops["reason"].startswith("class 'violet' has no usable training image")
    with pytest.raises(danlu.Refusal, match="class 'violet' has no usable training image"):
        danlu.train(tmp_path / "data", epochs=1, out=tmp_path / "run")


def test_a_stop_and_its_note_are_in_the_language_of_the_command(coloured, tmp_path, monkeypatch, capsys):
    shutil.copytree(coloured, tmp_path / "data")
    (tmp_path / "data" / "violet").mkdir()
    monkeypatch.chdir(tmp_path)
    assert cli.main(["data", "data", "--lang", "zh"]) == 0
    said = capsys.readouterr().out
    assert "注意：类别 'violet' 没有使用：没有可用的训练图像" in said
    assert "训练会停在 data：类别 'violet' 没有可用的训练图像" in said


def test_undescribable_data_are_refused_as_for_training(coloured, tmp_path):
    shutil.copytree(coloured / "red", tmp_path / "data" / "red")
    (tmp_path / "data" / "violet").mkdir()
    with pytest.raises(danlu.Refusal, match="class 'violet' has no usable"):  # nor is one class enough without it
        danlu.describe(tmp_path / "data")


def test_objects_are_read_for_the_task_that_is_named():
    assert danlu.describe("shapes", task="segment")["task"] == "segment"
    assert danlu.describe("shapes", task="detect")["task"] == "detect"


def test_contact_sheet_shows_masks_for_segmentation(tmp_path):
    for task in ("detect", "segment"):
        danlu.describe("shapes", task=task, out=tmp_path / f"{task}.png")
    sheets = [np.asarray(Image.open(tmp_path / f"{task}.png"), dtype=int) for task in ("detect", "segment")]
    veiled = (abs(sheets[1] - sheets[0]).max(axis=2) > 20).mean()
    assert 0.01 < veiled < 0.5


def test_a_table(houses):
    found = danlu.describe(houses, target="price")
    frame = pandas.read_csv(houses)
    assert found["task"] == "regress"
    assert found["targets"]["price"]["mean"] == pytest.approx(frame["price"].mean(), rel=1e-5)
    assert found["targets"]["price"]["std"] == pytest.approx(frame["price"].std(), rel=1e-5)
    assert found["contact_sheet"] is None


def test_the_sheet_lies_where_the_user_is_and_replaces_only_its_own(tmp_path, houses, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert cli.main(["data", "digits"]) == 0
        assert "contact sheet: digits-contact-sheet.png" in capfd.readouterr().out
    assert [one.name for one in tmp_path.iterdir()] == ["digits-contact-sheet.png"]
    Image.new("RGB", (4, 4)).save("digits-contact-sheet.png")  # not danlu's
    assert cli.main(["data", "digits"]) == 0
    assert "digits-contact-sheet-2.png" in capfd.readouterr().out
    assert Image.open("digits-contact-sheet.png").size == (4, 4)
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["data", str(houses), "--target", "price"]) == 0
    assert "contact sheet" not in capfd.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before


def test_the_last_line_says_how_the_data_is_understood_and_what_changes_it(houses, coloured, capfd, tmp_path):
    last = []
    for data in ([str(houses), "--target", "price"], [str(coloured)]):
        assert cli.main(["data", *data, "--out", str(tmp_path / "sheet.png")]) == 0
        last.append(capfd.readouterr().out.strip().splitlines()[-1])
    assert "understood as csv" in last[0]
    assert "--target COLUMN" in last[0]
    assert "understood as folder" in last[1]
    assert "one of 3 classes for each sample" in last[1]
    assert "--format NAME" in last[1]


def test_a_table_of_labels_is_one_way_to_read_it_and_has_a_target(coloured, tmp_path):
    images = sorted(coloured.rglob("*.png"))[:8]
    assert len(images) == 8
    table = tmp_path / "labels.csv"
    names = [f"{i}.png" for i in range(8)]
    for name, image in zip(names, images):
        (tmp_path / name).write_bytes(image.read_bytes())
    table.write_text("image,label\n" + "".join(f"{name},{'ab'[i % 2]}\n" for i, name in enumerate(names)))
    for lang, words in (("en", "is understood as csv images"), ("zh", "按 csv images 读取")):
        with speaking(lang):
            found = danlu.describe(table)
            assert words in found.understood
            assert "--target COLUMN" in found.understood
            assert not any("--format csv" in note for note in found.notes)


def test_the_command(capfd, tmp_path):
    argv = ["data", "digits", "--out", str(tmp_path / "sheet.png")]
    assert cli.main(argv) == 0
    assert "1,797 samples" in capfd.readouterr().out
    assert cli.main([*argv, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["samples"] == 1797

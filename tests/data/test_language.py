"""Notes and problems of data are sentences of the current language."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from danlu.config import DataConfig
from danlu.data.formats import open_dataset
from danlu.message import Message, messages_in, speaking, with_messages

CHINESE = re.compile("[\u4e00-\u9fff]")


def folder_with_faults(path: Path) -> None:
    for name, count in (("cat", 30), ("dog", 30), ("bird", 1)):
        (path / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (8, 8), (i, 5 * i, 90)).save(path / name / f"{i}.png")
    (path / "cat" / "empty.jpg").touch()
    (path / "dog" / "text.png").write_text("no image")
    (path / "dog" / "0.png").rename(path / "loose.png")


def table_with_faults(path: Path) -> None:
    path.mkdir()
    rows = [f"{i},2024-01-0{i % 9 + 1},,same,{i % 7},{'' if i == 3 else i * 1.5}" for i in range(60)]
    (path / "table.csv").write_text("a,when,nothing,constant,b,y\n" + "\n".join(rows) + "\n")


def labels_with_faults(path: Path) -> None:
    (path / "images").mkdir(parents=True)
    (path / "labels").mkdir()
    for i in range(30):
        Image.new("RGB", (32, 32), (i, 90, 90)).save(path / "images" / f"{i}.jpg")
        (path / "labels" / f"{i}.txt").write_text("0 0.5 0.5 0.2 0.2\n1 0.98 0.5 0.2 0.2\n")
    (path / "labels" / "29.txt").unlink()
    (path / "labels" / "28.txt").write_text("0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0 0.2\n")
    (path / "data.yaml").write_text("names: [a, b]\ntrain: images\n")


@pytest.mark.parametrize(
    ("make", "least"),
    [(folder_with_faults, 4), (table_with_faults, 4), (labels_with_faults, 3)],
    ids=["folder", "table", "labels"],
)
def test_notes_and_problems_are_translated_and_kept(make, least, tmp_path: Path) -> None:
    make(tmp_path / "data")
    dataset = open_dataset(DataConfig(path=str(tmp_path / "data"), on_bad="skip"), None)
    sentences = [*dataset.notes, *(problem.reason for problem in dataset.problems)]
    assert len(sentences) >= least
    for sentence in sentences:
        assert isinstance(sentence, Message)
        assert not CHINESE.search(str(sentence))
        with speaking("zh"):
            assert CHINESE.search(str(sentence)), sentence
    with speaking("zh"):
        again = with_messages([str.__str__(one) for one in sentences], messages_in(sentences))
        assert [*map(str, again)] == [*map(str, sentences)]

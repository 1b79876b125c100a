"""csv files in common variants."""

import gzip

import pytest
import torch

from danlu.config import DataConfig
from danlu.data.formats import open_dataset
from danlu.refuse import Refusal

TABLE = "a,b,kind\n" + "".join(f"{i},{i * 0.5},{'xy'[i % 2]}\n" for i in range(30))


def read(path, text=None, task=None, **kw):
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return open_dataset(DataConfig(path=str(path), **kw), task)


def test_classes(tmp_path):
    data = read(tmp_path / "t.csv", TABLE, target="kind")
    assert (data.task, data.kind, data.classes) == ("classify", "table", ("x", "y"))
    assert list(data.inputs.columns) == ["a", "b"]
    assert data.targets.tolist() == [0, 1] * 15
    assert data.name_of(0) == "t.csv line 2"


def test_numbers(tmp_path):
    data = read(tmp_path / "t.csv", TABLE, target="b")
    assert data.task == "regress"
    assert torch.equal(data.targets, torch.arange(30).float()[:, None] * 0.5)


def test_few_whole_numbers_are_classes_unless_asked(tmp_path):
    text = "x,y\n" + "".join(f"{i * 0.1},{i % 3 + 9}\n" for i in range(99))
    data = read(tmp_path / "t.csv", text)
    assert data.classes == ("9", "10", "11")
    assert any("because of its name" in note for note in data.notes)
    assert read(tmp_path / "t.csv", task="regress").task == "regress"
    with pytest.raises(Refusal, match="classify"):
        read(tmp_path / "t.csv", target="x", task="classify")
    with pytest.raises(Refusal, match="regress"):
        read(tmp_path / "u.csv", TABLE, target="kind", task="regress")


def test_separators_encodings_compression(tmp_path):
    for name, text in {
        "semi.csv": TABLE.replace(",", ";"),
        "tab.tsv": TABLE.replace(",", "\t"),
        "packed.csv.gz": gzip.compress(TABLE.encode()),
        "bom.csv": b"\xef\xbb\xbf" + TABLE.encode(),
        "windows.csv": TABLE.replace("\n", "\r\n"),
    }.items():
        data = read(tmp_path / name, text, target="kind")
        assert list(data.inputs["b"]) == [i * 0.5 for i in range(30)], name
    data = read(tmp_path / "latin.csv", TABLE.replace("x", "é").encode("latin-1"), target="kind")
    assert data.classes == ("y", "é")
    assert any("Latin-1" in note for note in data.notes)


def test_decimal_comma(tmp_path):
    text = "a;b\n" + "".join(f"{i},5;{i},25\n" for i in range(20))
    data = read(tmp_path / "t.csv", text, target="b")
    assert data.targets[3].item() == 3.25
    assert data.inputs["a"][3] == 3.5


def test_rows_without_target_are_problems(tmp_path):
    data = read(tmp_path / "t.csv", "a,b\n1,2.5\n2,\n\n3,inf\n4,5.5\n5,1.25\n", target="b")
    assert [p.where for p in data.problems] == ["t.csv line 3", "t.csv line 5"]
    assert data.targets.flatten().tolist() == [2.5, 5.5, 1.25]
    assert list(data.inputs["a"]) == [1, 4, 5]
    assert data.name_of(1) == "t.csv line 6"


def test_notes(tmp_path):
    text = "when,same,id,v,y\n" + "".join(
        f"2020-01-{i % 28 + 1:02d},7,n{i},{'inf' if i == 3 else i},{i * 0.3}\n" for i in range(80)
    )
    data = read(tmp_path / "t.csv", text, target="y")
    notes = " ".join(data.notes)
    assert "'when' looks like dates" in notes
    assert "'same' has only 7" in notes
    assert "'id' has 80 different texts" in notes
    assert data.inputs["v"].isna().sum() == 1


def test_nameless_row_number_blank_lines_and_quotes(tmp_path):
    text = ',a,b\n0,"x, y",1.5\n\n1, "z",2.5\n   \n2,"two\nlines",3.5\n'
    data = read(tmp_path / "t.csv", text, target="b")
    assert list(data.inputs.columns) == ["a"]
    assert list(data.inputs["a"]) == ["x, y", "z", "two\nlines"]
    assert any("column 1 without a name" in note for note in data.notes)
    assert data.name_of(1) == "t.csv line 4"


@pytest.mark.parametrize(
    ("text", "kw", "word"),
    [
        ("", {}, "empty file"),
        ("  \n", {}, "empty file"),
        ("a,b\n", {"target": "b"}, "only a header"),
        ("a,b\n1,2\n3,4,5\n", {"target": "b"}, "line 3 must be 2 fields long.*got 3"),
        ("a,b,c\n1,2,3\n3,4\n", {"target": "b"}, "line 3 .*got 2"),
        ("a,a\n1,2\n", {"target": "a"}, "must be unique"),
        (TABLE, {"target": "kinds"}, "did you mean 'kind'"),
        (TABLE, {}, "--target COLUMN, one of a, b, kind"),
        ("5.1,3.5,1\n4.9,3.0,2\n", {"target": "y"}, "first line seems to contain values"),
        ("y\n1.5\n2.5\n", {}, "input columns"),
        ("a,y\n1,\n2,\n", {}, "without values"),
        ("a,y\n1,x\n2,x\n", {}, "two classes"),
        ("a,y\n" + "1,2.5\n" * 20 + "1,oops\n", {}, "line 22 .*oops"),
        (b"\x89PNG\0\0\0\0", {"target": "y"}, "binary"),
    ],
)
def test_refusals(tmp_path, text, kw, word):
    with pytest.raises(Refusal, match=word):
        read(tmp_path / "t.csv", text, **kw)

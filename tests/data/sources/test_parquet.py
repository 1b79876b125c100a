"""Parquet and Arrow files of images, with the schemas that Hugging Face datasets writes."""

import io
import json
import sys

import numpy as np
import pytest
from layout_files import boxes, read, refused, text
from PIL import Image

from danlu.data.dataset import TEST

NAMES = ["ant", "bee", "fly"]
LABEL = {"names": NAMES, "_type": "ClassLabel"}


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DANLU_DATA", str(tmp_path_factory.mktemp("cache")))


def encoded(number, form="PNG"):
    """An image of 40 x 30 with a grey level of 3 * number."""
    stream = io.BytesIO()
    Image.fromarray(np.full((30, 40, 3), 3 * number, np.uint8)).save(stream, form)
    return stream.getvalue()


def write(path, images, columns, features=None):
    """columns: name -> (values, Arrow type). features: of Hugging Face datasets, kept in the schema."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = [pa.field("image", kind), *(pa.field(name, own) for name, (_, own) in columns.items())]
    info = {"info": {"features": {"image": {"_type": "Image"}} | (features or {})}}
    schema = pa.schema(fields, {"huggingface": json.dumps(info)} if features is not None else None)
    arrays = [pa.array([{"bytes": one, "path": None} for one in images], kind)]
    arrays += [pa.array(values, own) for values, own in columns.values()]
    table = pa.Table.from_arrays(arrays, schema=schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            writer.write_table(table)


def arrow():
    return pytest.importorskip("pyarrow")


def contents(data):
    """Grey level of each image / 3 -> its class."""
    pixels = [int(np.asarray(Image.open(path)).mean()) // 3 for path in data.inputs.paths]
    return dict(zip(pixels, (data.classes[k] for k in data.targets.tolist())))


def test_splits_and_names_of_the_schema(tmp_path):
    pa = arrow()
    for split, numbers in (("train", range(6)), ("validation", range(6, 9)), ("test", range(9, 12))):
        labels = [i % 3 for i in numbers]
        write(tmp_path / f"data/{split}-00000-of-00001.parquet", [encoded(i) for i in numbers],
              {"label": (labels, pa.int64())}, {"label": LABEL})  # fmt: skip
    data = read(tmp_path)
    assert (data.format, data.task, data.classes) == ("parquet", "classify", ("ant", "bee", "fly"))
    assert contents(data) == {i: NAMES[i % 3] for i in range(12)}
    assert sorted(data.given.tolist()) == [0] * 6 + [1] * 3 + [2] * 3
    again = read(tmp_path)
    assert again.inputs.paths == data.inputs.paths


@pytest.mark.parametrize("where", ["dataset_info.json", "README.md", "nowhere"])
def test_names_beside_the_files(tmp_path, where):
    pa = arrow()
    write(tmp_path / "data/train-00000-of-00001.parquet", [encoded(i) for i in range(6)],
          {"label": ([i % 3 for i in range(6)], pa.int64())})  # fmt: skip
    if where == "README.md":
        names = "".join(f"          '{i}': {name}\n" for i, name in enumerate(NAMES))
        head = f"dataset_info:\n  features:\n  - name: image\n    dtype: image\n  - name: label\n    dtype:\n      class_label:\n        names:\n{names}"
        text(tmp_path / where, f"---\n{head}---\n# Insects\n")
    elif where == "dataset_info.json":
        text(tmp_path / where, {"features": {"image": {"_type": "Image"}, "label": LABEL}})
    names = ["0", "1", "2"] if where == "nowhere" else NAMES
    assert contents(read(tmp_path)) == {i: names[i % 3] for i in range(6)}


def test_arrow_files_of_save_to_disk(tmp_path):
    pa = arrow()
    for split, numbers in (("train", range(6)), ("test", range(6, 9))):
        write(tmp_path / split / "data-00000-of-00001.arrow", [encoded(i, "JPEG") for i in numbers],
              {"label": ([i % 3 for i in numbers], pa.int64())})  # fmt: skip
        text(tmp_path / split / "dataset_info.json", {"features": {"image": {"_type": "Image"}, "label": LABEL}})
        text(tmp_path / split / "state.json", {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]})
    data = read(tmp_path)
    assert contents(data) == {i: NAMES[i % 3] for i in range(9)}
    assert sorted(data.given.tolist()) == [0] * 6 + [2] * 3


def test_labels_as_text_and_lists_of_labels(tmp_path):
    pa = arrow()
    write(tmp_path / "one/train.parquet", [encoded(i) for i in range(6)], {"label": (["on", "off"] * 3, pa.string())})
    assert contents(read(tmp_path / "one")) == {i: ("on", "off")[i % 2] for i in range(6)}
    lists = [[0, 1], [2], [], [0], [1, 2], [2]]
    write(tmp_path / "many/train.parquet", [encoded(i) for i in range(6)], {"labels": (lists, pa.list_(pa.int64()))},
          {"labels": {"feature": LABEL, "_type": "Sequence"}})  # fmt: skip
    data = read(tmp_path / "many")
    assert data.task == "multilabel"
    assert data.targets.tolist() == [[float(k in own) for k in range(3)] for own in lists]


def test_several_columns_of_labels_need_a_target(tmp_path):
    pa = arrow()
    columns = {name: ([i % 3 for i in range(6)], pa.int64()) for name in ("fine_label", "coarse_label")}
    write(tmp_path / "train.parquet", [encoded(i) for i in range(6)], columns, dict.fromkeys(columns, LABEL))
    assert "fine_label" in refused(tmp_path)
    assert contents(read(tmp_path, target="coarse_label"))[2] == "fly"


def test_a_test_set_without_labels_is_for_prediction(tmp_path):
    pa = arrow()
    for split, labels in (("train", [0, 1, 2] * 2), ("test", [-1] * 4)):
        write(tmp_path / f"{split}-00000-of-00001.parquet", [encoded(i) for i in range(len(labels))],
              {"label": (labels, pa.int64())}, {"label": LABEL})  # fmt: skip
    data = read(tmp_path)
    assert (len(data), data.unlabelled) == (6, (TEST,))


@pytest.mark.parametrize("listed", [True, False])
def test_boxes(tmp_path, listed):
    pa = arrow()
    one = pa.struct([("bbox", pa.list_(pa.float32())), ("category", pa.int64())])
    whole = pa.struct([("bbox", pa.list_(pa.list_(pa.float32()))), ("category", pa.list_(pa.int64()))])
    rows = [[([4, 6, 20, 10], 1)], [], [([0, 0, 8, 9], 0), ([1, 2, 30, 20], 2)]]
    if listed:
        values = [[{"bbox": box, "category": kind} for box, kind in row] for row in rows]
        column = (values, pa.list_(one))
    else:
        values = [{"bbox": [box for box, _ in row], "category": [kind for _, kind in row]} for row in rows]
        column = (values, whole)
    features = {"objects": {"feature": {"bbox": {}, "category": LABEL}, "_type": "Sequence"}}
    write(tmp_path / "data/train-00000-of-00001.parquet", [encoded(i) for i in range(3)], {"objects": column}, features)
    data = read(tmp_path)
    assert (data.format, data.classes) == ("parquet boxes", tuple(NAMES))
    assert [sorted(found) for found in boxes(data).values()] == [
        [("bee", 4, 6, 24, 16)], [], [("ant", 0, 0, 8, 9), ("fly", 1, 2, 31, 22)],
    ]  # fmt: skip


def test_broken_images_and_files_are_named(tmp_path):
    pa = arrow()
    images = [encoded(i) for i in range(40)]
    images[3], images[5] = b"\x89PNG cut", None
    path = tmp_path / "train.parquet"
    write(path, images, {"label": ([i % 3 for i in range(40)], pa.int64())}, {"label": LABEL})
    data = read(tmp_path, on_bad="skip")
    assert len(data) == 38
    assert len(data.problems) == 2
    path.write_bytes(path.read_bytes()[:-200])
    assert "cut or damaged" in refused(tmp_path)


def test_a_table_without_images_is_refused(tmp_path):
    pa = arrow()
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.table({"a": [1, 2], "label": [0, 1]}), tmp_path / "t.parquet")
    assert "no column of images" in refused(tmp_path)


def test_without_pyarrow_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("danlu.data.sources.image_labels.arrow_tables.PACKAGE", "package_that_is_not_installed")
    (tmp_path / "train-00000-of-00001.parquet").write_bytes(b"PAR1")
    assert "pip install danlu[parquet]" in refused(tmp_path)

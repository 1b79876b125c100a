"""Several labels per image in csv files: read, split and told apart from names."""

import numpy as np
import pytest
from PIL import Image

from danlu.config import DataConfig
from danlu.data.formats import open_dataset
from danlu.data.sources.tables.label_sets import are_lists, separator_in, split_labels
from danlu.refuse import Refusal


def _images(folder, count, suffix=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(np.full((8, 8, 3), 8 * i, np.uint8)).save(folder / f"{i}{suffix}")


def _write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _labels(dataset):
    """Image name -> set of its labels."""
    rows = dataset.targets.tolist()
    return {
        dataset.inputs.paths[i].name: {name for name, value in zip(dataset.classes, row) if value}
        for i, row in enumerate(rows)
    }


WANTED = {"0.png": {"cat", "dog"}, "1.png": {"cat"}, "2.png": {"dog"}, "3.png": {"bird", "cat"}, "4.png": set()}


@pytest.mark.parametrize("separator", [";", "|", ",", ", ", " "])
def test_a_column_of_separated_labels(tmp_path, separator):
    _images(tmp_path / "images", 5)
    rows = [f'{name},"{separator.join(sorted(labels))}"' for name, labels in WANTED.items()]
    _write(tmp_path / "labels.csv", "image,labels", *rows)
    dataset = open_dataset(DataConfig(path=str(tmp_path)))
    assert (dataset.format, dataset.task) == ("csv images", "multilabel")
    assert dataset.classes == ("bird", "cat", "dog")
    assert _labels(dataset) == WANTED
    assert any("--task classify" in note for note in dataset.notes)


def test_a_column_of_0_and_1_per_class_in_splits_as_roboflow_exports_it(tmp_path):
    for split in ("train", "valid", "test"):
        _images(tmp_path / split, 5)
        rows = [f"{n}, {int('bird' in s)}, {int('cat' in s)}, {int('dog' in s)}" for n, s in WANTED.items()]
        _write(tmp_path / split / "_classes.csv", "filename, bird, cat, dog", *rows)
    dataset = open_dataset(DataConfig(path=str(tmp_path)))
    assert (dataset.task, dataset.format, len(dataset)) == ("multilabel", "csv classes", 15)
    assert dataset.classes == ("bird", "cat", "dog")
    assert sorted(dataset.given.tolist()) == [0] * 5 + [1] * 5 + [2] * 5
    assert _labels(dataset) == WANTED


def test_exactly_one_label_each_stays_a_classification_unless_asked(tmp_path):
    _images(tmp_path, 4)
    _write(tmp_path / "_classes.csv", "filename,cat,dog", "0.png,1,0", "1.png,0,1", "2.png,1,0", "3.png,0,1")
    assert open_dataset(DataConfig(path=str(tmp_path))).task == "classify"
    asked = open_dataset(DataConfig(path=str(tmp_path)), "multilabel")
    assert (asked.task, asked.targets.tolist()) == ("multilabel", [[1, 0], [0, 1], [1, 0], [0, 1]])


def test_an_image_without_any_label_makes_the_labels_independent_and_says_so(tmp_path):
    _images(tmp_path, 3)
    _write(tmp_path / "_classes.csv", "filename,cat,dog", "0.png,1,0", "1.png,0,1", "2.png,0,0")
    dataset = open_dataset(DataConfig(path=str(tmp_path)))
    assert dataset.targets.tolist() == [[1, 0], [0, 1], [0, 0]]
    assert any("1 image has no label" in note for note in dataset.notes)


def test_names_with_commas_or_spaces_are_one_class_each(tmp_path):
    names = ["tench, Tinca tinca", "great white shark, white shark", "hammerhead, hammerhead shark"]
    _images(tmp_path, 6)
    _write(tmp_path / "labels.csv", "image,label", *[f'{i}.png,"{names[i % 3]}"' for i in range(6)])
    dataset = open_dataset(DataConfig(path=str(tmp_path)))
    assert (dataset.task, set(dataset.classes)) == ("classify", set(names))
    assert any("--task multilabel" in note for note in dataset.notes)
    assert open_dataset(DataConfig(path=str(tmp_path)), "multilabel").task == "multilabel"


@pytest.mark.parametrize(
    ("texts", "separator", "lists"),
    [
        (["golden retriever", "labrador retriever", "german shepherd"], " ", False),
        (["red circle", "blue circle", "red square", "blue square", "green circle"], " ", False),
        (
            ["haze primary", "clear primary", "cloudy", "clear primary water", "haze primary water", "haze water"],
            " ",
            True,
        ),
        (["Boston, MA", "Springfield, MA", "Albany, NY"], ",", False),
        (["a;b", "a", "b"], ";", True),
    ],
)
def test_lists_are_told_from_names(texts, separator, lists):
    assert separator_in(texts) == separator
    assert are_lists(texts, separator) is lists


def test_a_written_list_loses_its_brackets():
    assert split_labels("['cat', 'dog']", ",") == ("cat", "dog")


def test_an_image_named_twice_with_two_labels_is_refused_or_merged_on_request(tmp_path):
    _images(tmp_path, 3)
    _write(tmp_path / "labels.csv", "image,label", "0.png,cat", "0.png,dog", "1.png,cat", "2.png,dog")
    with pytest.raises(Refusal, match="--task multilabel"):
        open_dataset(DataConfig(path=str(tmp_path)))
    assert open_dataset(DataConfig(path=str(tmp_path)), "multilabel").targets.tolist() == [[1, 1], [1, 0], [0, 1]]


def test_a_row_with_a_wrong_number_of_fields_is_named(tmp_path):
    _images(tmp_path, 30)
    rows = [f"{i}.png,{'cat' if i % 2 else 'dog'}" for i in range(29)]
    _write(tmp_path / "labels.csv", "image,label", *rows, "29.png,cat,dog")
    dataset = open_dataset(DataConfig(path=str(tmp_path)))
    assert len(dataset) == 29
    assert [(p.where, p.reason) for p in dataset.problems] == [
        ("labels.csv line 31", "not as many fields as the header")
    ]


def test_a_format_that_cannot_have_several_labels_refuses_the_task(tmp_path):
    for name in ("cat", "dog"):
        _images(tmp_path / name, 2)
    with pytest.raises(Refusal, match="multilabel"):
        open_dataset(DataConfig(path=str(tmp_path)), "multilabel")

"""Tables beside class folders, folders of versions of the same images, and lists of splits and class names."""

import json

import numpy as np
import pytest
from layout_files import images, read, refused, rows
from PIL import Image

NAMES = [f"p{i}" for i in range(12)]
KINDS = ("cat", "dog")


def class_folders(root):
    for kind in KINDS:
        images(root / kind, [f"{kind}{i}" for i in range(12)])


def test_a_table_with_other_labels_than_the_folders_is_read_with_a_note(tmp_path):
    class_folders(tmp_path)
    lines = [f"{kind}/{kind}{i}.jpg,{('good', 'bad')[i % 2]}" for kind in KINDS for i in range(12)]
    rows(tmp_path / "labels.csv", "image,quality", *lines)
    data = read(tmp_path)
    assert data.classes == ("bad", "good")
    assert any("2 folders of images" in note and "--format folder" in note for note in data.notes)


def test_a_table_with_the_names_of_the_folders_needs_no_note(tmp_path):
    class_folders(tmp_path)
    rows(tmp_path / "labels.csv", "image,label", *(f"{k}/{k}{i}.jpg,{k}" for k in KINDS for i in range(12)))
    assert not any("not read" in note for note in read(tmp_path).notes)


def test_a_table_of_a_few_images_does_not_replace_the_class_folders(tmp_path):
    class_folders(tmp_path)
    rows(tmp_path / "labels.csv", "image,label", *(f"cat{i}.jpg,{('good', 'bad')[i % 2]}" for i in range(4)))
    assert "names 4 of 24 images only" in refused(tmp_path)
    assert read(tmp_path, format="folder").classes == KINDS
    assert len(read(tmp_path, format="csv-images")) == 4


def scene(number, size, seed):
    """A smooth random image, with noise of its own."""
    pixels = np.random.default_rng(number).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)).astype(int)
    noise = np.random.default_rng(seed).integers(-8, 8, smooth.shape)
    return Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8))


def save(path, made):
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save(path)


@pytest.mark.parametrize(
    "sizes", [{"left": (64, 48), "right": (60, 48)}, {"64": (64, 64), "128": (128, 128), "32": (32, 32)}]
)
def test_folders_of_the_same_scenes_are_no_classes(tmp_path, sizes):
    for seed, (folder, size) in enumerate(sizes.items()):
        for i in range(12):
            save(tmp_path / folder / f"{i}.png", scene(i, size, 100 * seed + i))
    assert "show the same" in refused(tmp_path)
    assert len(read(tmp_path, format="folder").classes) == len(sizes)


@pytest.mark.parametrize(
    "number", [lambda kind, i: 50 * kind + i, lambda kind, i: 7], ids=["own scenes", "fixed camera"]
)
def test_classes_whose_images_have_the_same_numbers_are_read(tmp_path, number):
    for kind, name in enumerate(KINDS):
        for i in range(12):
            save(tmp_path / name / f"{i}.png", scene(number(kind, i), (64, 48), 50 * kind + i))
    assert read(tmp_path).classes == KINDS


def test_the_same_images_in_two_classes_are_not_taken_for_versions(tmp_path):
    for suffixes in ((".png", ".png"), (".png", ".jpg")):
        for kind, suffix in zip(KINDS, suffixes):
            for i in range(12):
                save(tmp_path / suffixes[1][1:] / kind / f"{i}{suffix}", scene(i, (64, 48), i))
        assert read(tmp_path / suffixes[1][1:], on_bad="skip").classes == KINDS


def test_splits_by_a_csv_of_partitions(tmp_path):
    images(tmp_path / "faces", NAMES)
    rows(
        tmp_path / "attributes.csv",
        "image_id,Bald,Young",
        *(f"{n}.jpg,{(-1, 1)[i % 2]},{(-1, 1)[i % 3 == 0]}" for i, n in enumerate(NAMES)),
    )
    rows(
        tmp_path / "list_eval_partition.csv", "image_id,partition", *(f"{n}.jpg,{i // 4}" for i, n in enumerate(NAMES))
    )
    data = read(tmp_path)
    assert data.given.tolist() == [i // 4 for i in range(12)]
    assert any("the splits are those of list_eval_partition.csv" in note for note in data.notes)
    assert not any("for prediction" in note for note in data.notes)


def test_names_of_numbers_in_a_json(tmp_path):
    images(tmp_path / "train_images", NAMES)
    (tmp_path / "label_num_to_disease_map.json").write_text(json.dumps({"0": "blight", "1": "healthy", "2": "rust"}))
    rows(tmp_path / "train.csv", "image_id,label", *(f"{n}.jpg,{i % 2}" for i, n in enumerate(NAMES)))
    assert read(tmp_path).classes == ("blight", "healthy")

"""A folder of images and one of instance masks."""

import numpy as np
import pytest
from PIL import Image

from danlu.config import DataConfig
from danlu.data.canvas import Placement
from danlu.data.dataset import TRAIN, VAL
from danlu.data.formats import open_dataset, recognise
from danlu.refuse import Refusal

WIDTH, HEIGHT = 30, 20


def write(folder, count=3, ending="_mask", names=("images", "masks")):
    """Image i holds i instances, numbered 5, 10, ...; returns the masks' values."""
    values = []
    for name in names:
        (folder / name).mkdir(parents=True)
    for i in range(count):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        for k in range(i):
            mask[2 + 6 * k : 6 + 6 * k, 3 + k : 20] = 5 * (k + 1)
        mask[10, 25] = 5 if i else 0  # an instance may lie apart
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / names[0] / f"p{i}.jpg")
        Image.fromarray(mask).save(folder / names[1] / f"p{i}{ending}.png")
        values.append(mask)
    return values


def read(path, task=None, **kw):
    return open_dataset(DataConfig(path=str(path), **kw), task)


@pytest.mark.parametrize(("ending", "names"), [("_mask", ("PNGImages", "PedMasks")), ("", ("images", "masks"))])
def test_boxes_and_masks_of_instances(tmp_path, ending, names):
    values = write(tmp_path, ending=ending, names=names)
    assert recognise(tmp_path) == "instance masks"
    data = read(tmp_path)
    assert (data.task, data.classes, len(data), data.given) == ("segment", ("object",), 3, None)
    assert data.targets[2].boxes.tolist() == [[3, 2, 26, 11], [4, 8, 20, 12]]
    there = Placement((HEIGHT, WIDTH), (HEIGHT, WIDTH), (1.0, 1.0))
    assert np.array_equal(data.targets[2].masks(there), [values[2] == 5, values[2] == 10])
    assert len(data.targets[0]) == 0
    assert not data.problems


def test_detection_leaves_the_masks_out(tmp_path):
    write(tmp_path)
    data = read(tmp_path, "detect")
    assert data.task == "detect"
    assert data.targets[2].shapes is None


def test_splits(tmp_path):
    write(tmp_path / "train")
    write(tmp_path / "val")
    assert read(tmp_path).given.tolist() == [TRAIN] * 3 + [VAL] * 3


def test_mismatches_are_named(tmp_path):
    write(tmp_path, 30)
    (tmp_path / "masks" / "p3_mask.png").unlink()
    (tmp_path / "masks" / "p4_mask.png").write_bytes(b"no image")
    data = read(tmp_path)
    assert len(data) == 28
    assert [(p.where, p.done) for p in data.problems] == [
        ("images/p3.jpg", "skipped"),
        ("masks/p4_mask.png", "skipped"),
    ]
    Image.new("L", (WIDTH + 1, HEIGHT), 1).save(tmp_path / "masks" / "p4_mask.png")
    data = read(tmp_path)
    assert "as annotated" in data.problems[1].reason
    assert len(data) == 28
    for i in range(3, 13):
        (tmp_path / "masks" / f"p{i}_mask.png").write_bytes(b"no image")
    with pytest.raises(Refusal, match="masks cannot be used"):
        read(tmp_path)


def test_folders_named_images_and_masks_without_pairs_are_classes_on_request_only(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{name}{i}.png")
    with pytest.raises(Refusal, match=r"called like folders of images and of their masks.*--format folder"):
        open_dataset(DataConfig(path=str(tmp_path)))
    assert open_dataset(DataConfig(path=str(tmp_path), format="folder")).classes == ("images", "masks")


@pytest.mark.parametrize("wrapper", ["Images and labels", "annotations", "segmentation_data"])
def test_a_folder_around_images_and_masks_may_be_called_like_masks(tmp_path, wrapper):
    write(tmp_path / wrapper, names=("PNGImages", "PedMasks"))
    (tmp_path / "thumbnails").mkdir()
    for i in range(3):
        Image.new("RGB", (6, 4)).save(tmp_path / "thumbnails" / f"p{i}.jpg")
    Image.new("RGB", (9, 9)).save(tmp_path / "cover.jpg")
    data = open_dataset(DataConfig(path=str(tmp_path)))
    assert (data.format, [len(one) for one in data.targets]) == ("instance masks", [0, 1, 2])


def test_no_mutation_gives_a_traceback(tmp_path):
    write(tmp_path)
    file, rng = tmp_path / "masks" / "p2_mask.png", np.random.default_rng(0)
    whole, named = file.read_bytes(), 0
    for _ in range(150):
        raw = bytearray(whole)
        place = int(rng.integers(len(raw)))
        if rng.random() < 0.5:
            raw[place] = rng.integers(256)
        else:
            del raw[place : place + int(rng.integers(1, 30))]
        file.write_bytes(raw)
        data = read(tmp_path, on_bad="skip", format="instance-masks")
        assert len(data) in (2, 3)
        named += len(data) == 2 and any("p2_mask" in problem.where for problem in data.problems)
    assert named > 20

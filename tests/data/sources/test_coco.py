"""COCO json, written by hand and read by pycocotools as well; every fault is named, and no mutation gives a traceback."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from danlu.config import DataConfig
from danlu.data.canvas import Placement
from danlu.data.dataset import TEST, TRAIN, VAL
from danlu.data.formats import open_dataset, recognise
from danlu.data.sources.objects import coco
from danlu.refuse import Refusal

WIDTH, HEIGHT = 60, 40


def content(count=3):
    """Categories 3 and 90; two objects an image, the last image empty."""
    runs = np.zeros((HEIGHT, WIDTH), np.uint8)
    runs[5:15, 20:30] = 1
    packed = coco_mask.encode(np.asfortranarray(runs))
    flat = np.flatnonzero(np.diff(np.concatenate([[0], runs.T.ravel(), [2]])))
    loose = np.diff(np.concatenate([[0], flat])).tolist()
    images = [{"id": 10 + i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT} for i in range(count)]
    annotations = []
    for i in range(count - 1):
        annotations += [
            {"id": 2 * i + 1, "image_id": 10 + i, "category_id": 90, "bbox": [1.75, 2, 10, 12.25], "iscrowd": 0,
             "area": 122.5, "segmentation": [[1.75, 2, 11.75, 2, 11.75, 14.25, 1.75, 14.25]]},
            {"id": 2 * i + 2, "image_id": 10 + i, "category_id": 3, "bbox": [20, 5, 10, 10], "iscrowd": i % 2,
             "area": 100, "segmentation": {"size": [HEIGHT, WIDTH],
                                           "counts": loose if i % 2 else packed["counts"].decode()}},
        ]  # fmt: skip
    categories = [{"id": 90, "name": "toothbrush"}, {"id": 3, "name": "car"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def write(folder, data=None, name="instances_train2017.json", images="train2017", count=None):
    data = data or content()
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / images).mkdir(exist_ok=True)
    (folder / "annotations" / name).write_text(json.dumps(data))
    for i in range(len(data["images"]) if count is None else count):
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 9 * i % 255, np.uint8)).save(folder / images / f"{i}.png")
    return folder


def read(path, task=None, **kw):
    return open_dataset(DataConfig(path=str(path), **kw), task)


def test_boxes_classes_and_crowds_as_pycocotools_reads_them(tmp_path):
    data = read(write(tmp_path))
    assert (data.format, data.task, data.classes) == ("coco", "detect", ("car", "toothbrush"))
    assert data.given is None
    assert len(data) == 3
    assert not data.problems
    theirs = COCO(str(tmp_path / "annotations" / "instances_train2017.json"))
    for i, image in enumerate(theirs.dataset["images"]):
        objects = theirs.loadAnns(theirs.getAnnIds(image["id"]))
        ours = data.targets[i]
        assert (
            ours.boxes.numpy()[:, 2:].tolist()
            == [[o["bbox"][0] + o["bbox"][2], o["bbox"][1] + o["bbox"][3]] for o in objects]
            if objects
            else len(ours) == 0
        )
        assert [data.classes[k] for k in ours.labels] == [theirs.cats[o["category_id"]]["name"] for o in objects]
        assert ours.ignore.tolist() == [bool(o["iscrowd"]) for o in objects]
        assert ours.shapes is None
        assert ours.size == (HEIGHT, WIDTH)
    assert any("without objects" in note for note in data.notes)
    assert data.name_of(1) == "train2017/1.png"


def test_masks_as_pycocotools_draws_them(tmp_path):
    data = read(write(tmp_path), "segment")
    theirs = COCO(str(tmp_path / "annotations" / "instances_train2017.json"))
    there = Placement((HEIGHT, WIDTH), (HEIGHT, WIDTH), (1.0, 1.0))
    for i in range(2):
        masks = data.targets[i].masks(there).numpy()
        for mask, annotation in zip(masks, theirs.loadAnns(theirs.getAnnIds(10 + i))):
            assert np.array_equal(mask, theirs.annToMask(annotation))
    assert data.targets[2].masks(there).shape == (0, HEIGHT, WIDTH)


def test_splits_by_the_names_of_files_and_folders(tmp_path):
    write(tmp_path)
    write(tmp_path, name="instances_val2017.json", images="val2017")
    (tmp_path / "annotations" / "captions_val2017.json").write_text('{"annotations": [], "images": []}')
    data = read(tmp_path)
    assert data.given.tolist() == [TRAIN] * 3 + [VAL] * 3
    assert {data.name_of(i).split("/")[0] for i in range(3)} == {"train2017"}
    one = read(tmp_path / "annotations" / "instances_val2017.json")
    assert len(one) == 3
    assert one.given is None


def test_a_folder_per_split_as_roboflow_writes(tmp_path):
    for i, part in enumerate(("train", "valid", "test")):
        (tmp_path / part).mkdir()
        data = content(2)
        for entry in data["images"]:
            entry["file_name"] = f"{part}{entry['file_name']}"
            Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / part / entry["file_name"])
        data["categories"] = data["categories"][:: -1 if i else 1]
        (tmp_path / part / "_annotations.coco.json").write_text(json.dumps(data))
    data = read(tmp_path)
    assert data.given.tolist() == [TRAIN] * 2 + [VAL] * 2 + [TEST] * 2
    assert [t.labels.tolist() for t in data.targets] == [[1, 0], []] * 3


def many(change):
    """Thirty good images, so that a few faults stop nothing, and what `change` makes of them."""
    data = content(30)
    change(data)
    return data


def fault(field, value, i=4):
    return lambda data: data["annotations"][i].update({field: value})


FAULTS = {
    "reversed": (fault("bbox", [20, 5, -3, 4]), "annotation 5", "reversed", "skipped", -1),
    "empty": (fault("bbox", [20, 5, 0, 4]), "annotation 5", "empty", "skipped", -1),
    "outside": (fault("bbox", [200, 5, 3, 4]), "annotation 5", "outside the image", "skipped", -1),
    "not finite": (fault("bbox", [float("nan"), 5, 3, 4]), "annotation 5", "not finite", "skipped", -1),
    "endless": (fault("bbox", [1, 5, 10**400, 4]), "annotation 5", "not finite", "skipped", -1),
    "beyond": (fault("bbox", [50, 5, 30, 4]), "annotation 5", "beyond the image of 60 x 40", "clipped", 0),
    "unknown class": (fault("category_id", 4), "annotation 5", "category_id 4", "skipped", -1),
    "unknown image": (fault("image_id", 4), "annotation 5", "image_id 4", "skipped", -1),
    "id 0": (fault("id", 0), "annotation 0", "begin at 1", "kept", 0),
    "same id": (fault("id", 1), "annotation 1", "given to 2 annotations", "kept", 0),
    "no image": (lambda d: d["images"][2].update(file_name="gone.png"), "gone.png", "missing image", "skipped", -2),
    "other size": (lambda d: d["images"][2].update(width=61), "instances", "size 61 x 40", "kept", 0),
    "turned": (lambda d: d["images"][2].update(width=40, height=60), "instances", "turned", "skipped", -2),
    "same object": (fault("bbox", [20, 5, 10, 10]), "annotation 6", "a second time", "kept", 0),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_named(tmp_path, name):
    change, where, reason, done, lost = FAULTS[name]
    data = many(change)
    if name == "same object":
        data["annotations"][4]["category_id"] = 3
    found = read(write(tmp_path, data))
    assert len(found.problems) == 1
    assert where in found.problems[0].where
    assert reason in found.problems[0].reason
    assert found.problems[0].done == done
    assert sum(map(len, found.targets)) == 58 + lost


def test_clipped_boxes_end_at_the_edge(tmp_path):
    found = read(write(tmp_path, many(fault("bbox", [50, -0.5, 30, 4]))))
    assert found.targets[2].boxes[0].tolist() == [50, 0, 60, 3.5]
    assert "1 box reaches beyond" in " ".join(found.notes)


def test_an_object_without_a_usable_outline_is_ignored(tmp_path):
    found = read(write(tmp_path, many(fault("segmentation", [[1, 1, 5, 5]]))), "segment")
    assert found.targets[2].ignore.tolist() == [True, False]
    assert "fewer than three corners" in found.problems[0].reason
    runs = {"size": [HEIGHT, WIDTH], "counts": [3, 4]}
    found = read(write(tmp_path, many(fault("segmentation", runs))), "segment")
    assert "do not cover" in found.problems[0].reason


def test_absolute_paths_of_another_machine(tmp_path):
    def change(data):
        data["images"][0]["file_name"] = "/home/someone/set/0.png"
        data["images"][1]["file_name"] = "C:\\set\\1.png"

    found = read(write(tmp_path, many(change)))
    assert not found.problems
    assert any("2 images are named by absolute paths" in note for note in found.notes)


REFUSED = {
    "cut": (lambda text: text[:200], "not valid json"),
    "a list": (lambda text: '[{"image_id": 1}]', "a list, as of results"),
    "no images": (lambda text: text.replace('"images"', '"photos"'), "'images'"),
    "no bbox": (lambda text: text.replace('"bbox": [1.75', '"box": [1.75').replace('"segmentation": [[', '"s": [['), "annotations[0].bbox"),
    "short bbox": (lambda text: text.replace("[20, 5, 10, 10]", "[20, 5, 10]"), "annotations[1].bbox"),
    "no file_name": (lambda text: text.replace('"file_name"', '"name"'), "images[0].file_name"),
    "ids of two images": (lambda text: text.replace('"id": 11', '"id": 10').replace('"id": 12', '"id": 10'), "images[1].id"),
    "ids of two classes": (lambda text: text.replace('"id": 90', '"id": 3'), "categories[1].id"),
    "no classes": (lambda text: text.replace(text[text.index('"categories"') :], '"categories": []}'), "class"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_one_sentence_for_a_broken_file(tmp_path, name):
    change, words = REFUSED[name]
    file = write(tmp_path) / "annotations" / "instances_train2017.json"
    file.write_text(change(file.read_text()))
    with pytest.raises(Refusal) as found:
        read(file)
    assert words in str(found.value)
    assert str(tmp_path) in str(found.value)
    assert "\n" not in str(found.value)


def test_too_many_faults_stop_by_default(tmp_path):
    def change(data):
        for entry in data["annotations"]:
            entry["bbox"] = [500, 500, 10, 10]

    write(tmp_path, many(change))
    with pytest.raises(Refusal, match="58 of 58 objects"):
        read(tmp_path)
    assert sum(map(len, read(tmp_path, on_bad="skip").targets)) == 0


def test_another_task_is_refused(tmp_path):
    write(tmp_path)
    assert recognise(tmp_path) == "coco"
    with pytest.raises(Refusal, match="data for the task detect or segment, not classify"):
        read(tmp_path, "classify")


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_no_mutation_gives_a_traceback(tmp_path, mutate, task):
    file = write(tmp_path) / "annotations" / "instances_train2017.json"
    text, rng = file.read_bytes(), np.random.default_rng(0)
    there = Placement((HEIGHT, WIDTH), (HEIGHT, WIDTH), (1.0, 1.0))
    read_well, sentences = 0, []
    for _ in range(250):
        file.write_bytes(mutate(text, rng))
        try:
            found = coco.open(file, DataConfig(path=str(file), on_bad="skip"), task)
        except Refusal as refused:
            sentences.append(str(refused))
            continue
        read_well += 1
        for one in found.targets:
            assert one.boxes.isfinite().all()
            assert (one.boxes[:, 2:] > one.boxes[:, :2]).all()
            if one.shapes is not None:
                assert len(one.masks(there)) == len(one)
    assert 20 < read_well < 230
    assert not [sentence for sentence in sentences if "\n" in sentence]

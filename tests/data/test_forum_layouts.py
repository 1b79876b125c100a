"""Layouts that users of other tools asked about in public issues: read right, or refused with the reason."""

import json
import os
import tarfile

import numpy as np
import pytest
from layout_files import HEIGHT, WIDTH, boxes, image, images, labels, read, refused, rows, splits, text
from PIL import Image

from danlu.data.dataset import TEST, TRAIN, VAL

NAMES = [f"p{i}" for i in range(12)]
BOX = (4, 4, 24, 14)


def tags(data):
    """Name of the image file -> set of its labels."""
    return {
        os.path.basename(data.name_of(i)): {data.classes[k] for k in row.nonzero().flatten().tolist()}
        for i, row in enumerate(data.targets)
    }


# --- tables of images ----------------------------------------------------------------------------------------------


def test_a_table_in_gbk_keeps_its_class_names_and_says_so(tmp_path):
    images(tmp_path / "images", NAMES)
    rows(
        tmp_path / "labels.csv",
        "image,label",
        *(f"{n}.jpg,{'猫狗'[i % 2]}" for i, n in enumerate(NAMES)),
        encoding="gbk",
    )
    data = read(tmp_path)
    assert set(data.classes) == {"猫", "狗"}
    assert any("not UTF-8; it was read as GBK" in note for note in data.notes)


def test_single_letters_with_accents_are_latin_1(tmp_path):
    images(tmp_path / "images", NAMES)
    rows(tmp_path / "labels.csv", "image,label", *(f"{n}.jpg,{('Käse', 'café')[i % 2]}" for i, n in enumerate(NAMES)),
         encoding="latin-1")  # fmt: skip
    data = read(tmp_path)
    assert set(data.classes) == {"Käse", "café"}
    assert any("Latin-1" in note for note in data.notes)


def test_a_list_called_labels_txt_is_no_list_of_class_names(tmp_path):
    images(tmp_path / "images", [f"my photo {i}" for i in range(8)])
    rows(tmp_path / "labels.txt", *(f"images/my photo {i}.jpg\t{i % 2}" for i in range(8)))
    assert read(tmp_path).classes == ("0", "1")


@pytest.mark.parametrize("column", ["tags", "labels"])
def test_tags_separated_by_spaces_in_few_combinations(tmp_path, column):
    images(tmp_path / "images", NAMES)
    pairs = ("haze primary", "clear primary")
    rows(tmp_path / "train.csv", f"image_name,{column}", *(f"{n},{pairs[i % 2]}" for i, n in enumerate(NAMES)))
    data = read(tmp_path)
    if column == "tags":
        assert tags(data)["p0.jpg"] == {"haze", "primary"}
    else:  # called like single labels as often as like several
        assert data.classes == ("clear primary", "haze primary")
        assert any("--task multilabel splits them" in note for note in data.notes)


def test_names_of_two_words_stay_whole_in_a_column_of_tags(tmp_path):
    images(tmp_path / "images", NAMES)
    breeds = ("golden retriever", "german shepherd")
    rows(tmp_path / "train.csv", "image,tags", *(f"{n},{breeds[i % 2]}" for i, n in enumerate(NAMES)))
    assert set(read(tmp_path).classes) == set(breeds)


@pytest.mark.parametrize(("column", "value"), [("PredictionString", "n014 4 4 24 14"), ("boxes", "4 4 24 14;5 5 9 9")])
def test_texts_of_boxes_are_no_labels(tmp_path, column, value):
    images(tmp_path / "images", NAMES)
    rows(tmp_path / "train.csv", f"ImageId,{column}", *(f"{n},{value}" for n in NAMES))
    assert "columns of boxes" in refused(tmp_path)


def test_a_column_of_another_name_names_the_images(tmp_path):
    images(tmp_path / "images", NAMES)
    lines = (f"{n},4,4,20,10,1" if i < 9 else f"{n},,,,,0" for i, n in enumerate(NAMES))
    rows(tmp_path / "labels.csv", "patientId,x,y,width,height,Target", *lines)
    data = read(tmp_path)
    assert (data.format, len(data)) == ("csv boxes", 12)
    assert boxes(data)["p0.jpg"] == [("1", *BOX)]
    assert boxes(data)["p11.jpg"] == []


def test_labels_that_are_called_like_a_few_images_name_none(tmp_path):
    images(tmp_path / "images", NAMES)
    images(tmp_path / "images", ["cat", "dog"])
    rows(tmp_path / "t.csv", "photo_no,kind", *(f"x{n},{('cat', 'dog')[i % 2]}" for i, n in enumerate(NAMES)))
    assert "names no image that is there" in refused(tmp_path)


def test_a_table_without_header_of_names_without_endings(tmp_path):
    images(tmp_path / "images", NAMES)
    rows(tmp_path / "train.csv", *(f"{n},{i % 2}" for i, n in enumerate(NAMES)))
    assert labels(read(tmp_path)) == {f"{n}.jpg": str(i % 2) for i, n in enumerate(NAMES)}


def test_boxes_without_header_with_the_size_of_the_image_behind(tmp_path):
    images(tmp_path / "images", NAMES)
    rows(tmp_path / "annotations_train.csv", *(f"{n}.jpg,4,4,24,14,object,{WIDTH},{HEIGHT}" for n in NAMES))
    assert boxes(read(tmp_path))["p3.jpg"] == [("object", *BOX)]


def test_fractions_of_which_one_is_a_little_above_1(tmp_path):
    images(tmp_path / "images", NAMES)
    x1, y1, x2, y2 = 4 / WIDTH, 4 / HEIGHT, 24 / WIDTH, 14 / HEIGHT
    lines = (f"{n}.jpg,{x1},{y1},{1.002 if i == 0 else x2},{y2},cat" for i, n in enumerate(NAMES))
    rows(tmp_path / "labels.csv", "image,xmin,ymin,xmax,ymax,label", *lines)
    found = boxes(read(tmp_path))
    assert found["p1.jpg"] == [("cat", *BOX)]
    assert found["p0.jpg"] == [("cat", 4, 4, WIDTH, 14)]


def test_an_unclear_table_is_not_also_called_one_that_names_no_image(tmp_path):
    images(tmp_path / "images", NAMES)
    rows(tmp_path / "train.csv", "image,age,side", *(f"{n}.jpg,{i},left" for i, n in enumerate(NAMES)))
    said = refused(tmp_path)
    assert "--target COLUMN" in said
    assert "names no image" not in said
    assert "neither class folders" not in said


# --- images without labels -----------------------------------------------------------------------------------------


def test_classes_in_the_names_of_the_images_are_named(tmp_path):
    images(tmp_path / "train", [f"{kind}.{i}" for kind in ("cat", "dog") for i in range(4)])
    images(tmp_path / "test1", ["1", "2"])
    assert "the names of the images hold cat, dog: if these are their classes, use --format file-names" in refused(
        tmp_path
    )
    data = read(tmp_path, format="file-names")
    assert data.classes == ("cat", "dog")
    assert "2 images have no class in their names: used for prediction, not read" in data.notes


def test_one_folder_of_images_is_refused_with_what_may_hold_the_labels(tmp_path):
    images(tmp_path / "cars", NAMES)
    text(tmp_path / "annos.mat", "MATLAB 5.0")
    said = refused(tmp_path)
    assert "must have at least two classes, got only 'cars'; annos.mat may hold the labels" in said


def test_a_line_per_image_without_names_is_named(tmp_path):
    images(tmp_path / "jpg", NAMES)
    rows(tmp_path / "labels.txt", *(str(i % 2) for i in range(12)))
    assert "labels.txt has a line for each of the 12 images, but does not name them" in refused(tmp_path)


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_one_file_in_two_classes_is_no_sample_of_either(tmp_path, link):
    for kind in ("a", "b"):
        images(tmp_path / kind, [f"{kind}{i}" for i in range(30)])
    link(tmp_path / "a/a0.jpg", tmp_path / "b/alias.jpg")
    data = read(tmp_path)
    assert len(data) == 59
    assert {problem.where for problem in data.problems} == {"a/a0.jpg", "b/alias.jpg"}
    assert "the same file as a/a0.jpg, so that it has the classes 'b' and 'a'" in [p.reason for p in data.problems]


def test_one_file_in_two_splits_of_a_class_is_read(tmp_path):
    for split in ("train", "val"):
        for kind in ("a", "b"):
            images(tmp_path / split / kind, [f"{split}{kind}{i}" for i in range(3)])
    os.link(tmp_path / "train/a/traina0.jpg", tmp_path / "val/a/again.jpg")
    data = read(tmp_path)
    assert (len(data), data.problems) == (13, [])


# --- annotation tools ----------------------------------------------------------------------------------------------


def flags(folder, name, marked):
    image(folder / f"{name}.jpg")
    text(folder / f"{name}.json", {"flags": marked, "shapes": [], "imagePath": f"{name}.jpg", "imageHeight": HEIGHT,
                                   "imageWidth": WIDTH})  # fmt: skip


def test_flags_of_labelme_are_labels_of_the_image(tmp_path):
    for i, name in enumerate(NAMES):
        flags(tmp_path / "train", name, {"cat": i % 2 == 0, "dog": i % 2 == 1})
        flags(tmp_path / "val", f"v{name}", {"cat": i % 2 == 0, "dog": i % 2 == 1})
    data = read(tmp_path)
    assert (data.format, data.task, len(data)) == ("labelme flags", "classify", 24)
    assert labels(data)["p1.jpg"] == "dog"
    assert (splits(data)["p1.jpg"], splits(data)["vp1.jpg"]) == (TRAIN, VAL)


def test_several_flags_of_labelme_are_several_labels_and_damaged_files_are_named(tmp_path):
    for i in range(40):
        flags(tmp_path, f"p{i}", {"cat": True, "dog": i % 2 == 1, "bird": False})
    text(tmp_path / "p3.json", '{"flags": {"cat": tr')
    data = read(tmp_path)
    assert tags(data)["p1.jpg"] == {"cat", "dog"}
    assert tags(data)["p2.jpg"] == {"cat"}
    assert [problem.where for problem in data.problems] == ["p3.json"]


def test_tags_of_cvat_are_labels_of_the_image(tmp_path):
    images(tmp_path / "images", NAMES)
    entries = "".join(
        f'<image id="{i}" name="{n}.jpg" subset="{"Train" if i < 9 else "Validation"}" width="40" height="30">'
        f'<tag label="{("cat", "dog")[i % 2]}" source="manual"></tag></image>' for i, n in enumerate(NAMES)
    )  # fmt: skip
    text(tmp_path / "annotations.xml", f"<annotations><version>1.1</version><meta></meta>{entries}</annotations>")
    data = read(tmp_path)
    assert (data.format, data.task) == ("cvat tags", "classify")
    assert labels(data)["p1.jpg"] == "dog"
    assert splits(data)["p11.jpg"] == VAL


def test_tags_beside_boxes_of_cvat_leave_the_boxes(tmp_path):
    images(tmp_path / "images", NAMES)
    entries = "".join(
        f'<image id="{i}" name="{n}.jpg" width="40" height="30"><tag label="blurred"></tag>'
        '<box label="cat" xtl="4" ytl="4" xbr="24" ybr="14"></box></image>' for i, n in enumerate(NAMES)
    )  # fmt: skip
    text(tmp_path / "annotations.xml", f"<annotations><version>1.1</version><meta></meta>{entries}</annotations>")
    assert boxes(read(tmp_path))["p0.jpg"] == [("cat", *BOX)]


def test_tasks_with_predictions_alone_are_named(tmp_path):
    images(tmp_path / "images", NAMES)
    tasks = [{"id": i, "data": {"image": f"{n}.jpg"}, "annotations": [], "predictions": [{"result": []}]}
             for i, n in enumerate(NAMES)]  # fmt: skip
    text(tmp_path / "export.json", tasks)
    assert "none of its 12 tasks has an annotation" in refused(tmp_path)


def coco(root, size, bbox):
    images(root / "images", NAMES)
    entries = [{"id": i, "file_name": f"{n}.jpg", "width": size[0], "height": size[1]} for i, n in enumerate(NAMES, 1)]
    objects = [{"id": i, "image_id": i, "category_id": 1, "bbox": bbox} for i in range(1, 13)]
    text(root / "a.json", {"images": entries, "annotations": objects, "categories": [{"id": 1, "name": "cat"}]})


def test_images_resized_after_their_annotation_are_refused(tmp_path):
    coco(tmp_path, (2 * WIDTH, 2 * HEIGHT), [8, 8, 40, 20])
    assert (
        f"12 of 12 images were resized after their annotation (a.json: {2 * WIDTH} x {2 * HEIGHT} as annotated, "
        in (refused(tmp_path))
    )
    assert len(read(tmp_path, on_bad="skip")) == 12


@pytest.mark.parametrize("size", [(2 * WIDTH, HEIGHT), (WIDTH // 2, HEIGHT // 2)])
def test_sizes_that_are_only_written_wrongly_are_noted(tmp_path, size):
    """Sizes with other proportions, or such that the boxes do not fit in them."""
    coco(tmp_path, size, [4, 4, 30, 20])
    data = read(tmp_path)
    assert boxes(data)["p0.jpg"] == [("cat", 4, 4, 34, 24)]
    assert len(data.problems) == 12


def test_swapped_sizes_are_called_so(tmp_path):
    coco(tmp_path, (HEIGHT, WIDTH), [4, 4, 20, 10])
    assert "swap the width and the height of all images" in refused(tmp_path)


def test_fractions_with_a_faulty_box_among_them_are_still_no_pixels(tmp_path):
    coco(tmp_path, (WIDTH, HEIGHT), [0.1, 0.1, 0.5, 0.3])
    content = json.loads((tmp_path / "a.json").read_text())
    content["annotations"][0]["bbox"] = [0.5, 0.5, 90, 0.1]
    text(tmp_path / "a.json", content)
    assert "as fractions of the image instead of pixels" in refused(tmp_path)


def yolo(root, **yamls):
    for split in ("train", "val"):
        images(root / "images" / split, [f"{split}{i}" for i in range(4)])
        for i in range(4):
            rows(root / "labels" / split / f"{split}{i}.txt", "0 0.5 0.5 0.25 0.5")
    for name, names in yamls.items():
        rows(root / f"{name}.yaml", "train: images/train", "val: images/val", f"names: {names}")


def test_two_descriptions_of_other_classes_are_refused_unless_one_is_data_yaml(tmp_path):
    yolo(tmp_path / "a", pets="[cat, dog]", wild="[lion, bear]")
    assert "pets.yaml and wild.yaml list different classes" in refused(tmp_path / "a")
    assert read(tmp_path / "a" / "wild.yaml").classes == ("lion", "bear")
    yolo(tmp_path / "b", a_copy="[dog, cat]", data="[cat, dog]")
    data = read(tmp_path / "b")
    assert data.classes == ("cat", "dog")
    assert "a_copy.yaml is not read, as data.yaml is; give its path to read it" in data.notes


# --- masks ---------------------------------------------------------------------------------------------------------


def mask(path, values=(1, 2)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[4:12, 4:14], pixels[18:28, 20:38] = values
    Image.fromarray(pixels).save(path)


def test_class_names_of_masks_by_roboflow(tmp_path):
    for split in ("train", "valid"):
        for i in range(3):
            image(tmp_path / split / f"{split}{i}.jpg")
            mask(tmp_path / split / f"{split}{i}_mask.png")
        rows(tmp_path / split / "_classes.csv", "Pixel Value, Class", "0, background", "1, cat", "2, dog")
    assert read(tmp_path, "semantic").classes == ("background", "cat", "dog")


def test_images_without_a_mask_are_counted(tmp_path):
    images(tmp_path / "images", NAMES, ".png")
    for name in NAMES[2:]:
        mask(tmp_path / "masks" / f"{name}.png")
    data = read(tmp_path, "semantic")
    assert len(data) == 10
    assert "2 images that no annotation names are not read (first: images/p0.png)" in map(str, data.notes)


def test_masks_as_jpeg_are_called_saved_with_loss(tmp_path):
    images(tmp_path / "images", NAMES)
    for name in NAMES:
        mask(tmp_path / "masks" / f"{name}.jpg", (255, 255))
    assert "saved with loss" in refused(tmp_path)
    assert "saved with loss" in refused(tmp_path, "semantic")


def test_satellite_images_beside_their_masks(tmp_path):
    for i in range(6):
        image(tmp_path / f"train/{i}_sat.jpg")
        mask(tmp_path / f"train/{i}_mask.png", (255, 255))
    assert len(read(tmp_path, "semantic")) == 6


# --- archives and other files --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("a.tar.gz", "mkdir -p a && tar -xf {file} -C a"), ("a.tbz2", "tar -xf"), ("a.txz", "tar -xf"),
        ("A.TAR", "tar -xf {file} -C A"), ("download", "-C download_unpacked"),
    ],
)  # fmt: skip
def test_archives_of_every_name(tmp_path, name, command):
    image(tmp_path / "cat/1.jpg")
    mode = {"a.tar.gz": "w:gz", "a.tbz2": "w:bz2", "a.txz": "w:xz", "download": "w:gz"}.get(name, "w")
    with tarfile.open(tmp_path / name, mode) as packed:
        packed.add(tmp_path / "cat", "cat")
    assert command.format(file=tmp_path / name) in refused(tmp_path / name)


def test_an_archive_of_several_files_is_unpacked_by_7z(tmp_path):
    for name in ("train.zip", "train.z01"):
        text(tmp_path / name, "PK")
    assert "7z x" in refused(tmp_path)


def test_raw_images_are_not_read_by_their_preview(tmp_path):
    for kind in ("a", "b"):
        images(tmp_path / kind, NAMES)
    image(tmp_path / "preview.tif")
    (tmp_path / "preview.tif").rename(tmp_path / "a/photo.NEF")
    data = read(tmp_path)
    assert [(p.where, p.reason[:11]) for p in data.problems] == [("a/photo.NEF", "a raw image")]


@pytest.mark.parametrize(("ending", "what"), [("cr2", "a raw image"), ("psd", "Photoshop")])
def test_files_that_are_no_images_yet_are_named(tmp_path, ending, what):
    for kind in ("a", "b"):
        text(tmp_path / kind / f"1.{ending}", "data")
    assert what in refused(tmp_path)


# --- images in tables ----------------------------------------------------------------------------------------------


def pixel_rows(count, side=28):
    """Images of noise with a black border, and labels 0, 1, 2 in turn."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side), dtype=np.uint8)
    pixels[:, [0, -1]] = pixels[:, :, [0, -1]] = 0
    return pixels, [",".join(map(str, one.ravel())) for one in pixels]


def test_mnist_as_csv_is_a_table_of_images(tmp_path):
    pixels, lines = pixel_rows(12)
    header = ",".join(f"pixel{i}" for i in range(784))
    rows(tmp_path / "sign_train.csv", f"label,{header}", *(f"{i % 3},{line}" for i, line in enumerate(lines[:9])))
    rows(tmp_path / "sign_test.csv", f"label,{header}", *(f"{i % 3},{line}" for i, line in enumerate(lines[9:])))
    data = read(tmp_path)
    assert (data.format, data.task, data.classes) == ("pixel table", "classify", ("0", "1", "2"))
    order = [int(data.name_of(i).split()[-1]) - 2 for i in range(12)]
    assert data.targets.tolist() == [k % 3 for k in order]
    train = [i for i in range(12) if data.given[i] == TRAIN]
    assert np.array_equal(data.inputs[train, 0].numpy(), pixels[:9])
    assert len(read(tmp_path / "sign_train.csv")) == 9
    assert read(tmp_path / "sign_train.csv", format="csv").inputs.shape == (9, 784)


def test_a_table_of_pixels_without_labels_is_for_prediction(tmp_path):
    _, lines = pixel_rows(8)
    header = ",".join(f"pixel{i}" for i in range(784))
    rows(tmp_path / "train.csv", f"label,{header}", *(f"{i % 2},{line}" for i, line in enumerate(lines)))
    rows(tmp_path / "test.csv", header, *lines)
    data = read(tmp_path)
    assert len(data) == 8
    assert any("test.csv has no labels" in note for note in data.notes)


@pytest.mark.parametrize("first", [True, False])
def test_a_table_of_pixels_without_header(tmp_path, first):
    pixels, lines = pixel_rows(12)
    rows(tmp_path / "a.csv", *(f"{i // 4},{one}" if first else f"{one},{i // 4}" for i, one in enumerate(lines)))
    data = read(tmp_path / "a.csv")
    assert data.targets.tolist() == [i // 4 for i in range(12)]
    assert np.array_equal(data.inputs[:, 0].numpy(), pixels)
    assert any(f"column {1 if first else 785} is taken as the label" in note for note in data.notes)


def test_colours_of_an_image_per_row(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    header = ",".join(f"pixel{i:04d}" for i in range(768))
    rows(tmp_path / "rgb.csv", f"{header},label",
         *(",".join(map(str, one.ravel())) + f",{i % 2}" for i, one in enumerate(pixels)))  # fmt: skip
    data = read(tmp_path / "rgb.csv")
    assert np.array_equal(data.inputs.permute(0, 2, 3, 1).numpy(), pixels)


def test_texts_of_pixels_by_fer2013(tmp_path):
    pixels, lines = pixel_rows(40, 48)
    usage = ["Training"] * 30 + ["PublicTest"] * 10
    entries = [f"{i % 3},{line.replace(',', ' ')},{usage[i]}" for i, line in enumerate(lines)]
    entries[5] = "1,0 0 0,Training"
    rows(tmp_path / "fer2013.csv", "emotion,pixels,Usage", *entries)
    data = read(tmp_path / "fer2013.csv")
    assert (len(data), data.inputs.shape[1:]) == (39, (1, 48, 48))
    assert np.array_equal(data.inputs[6, 0].numpy(), pixels[7])
    assert data.given.tolist().count(TRAIN) == 29
    assert [(p.where, p.reason) for p in data.problems] == [
        ("fer2013.csv line 7", "not 2304 integers from 0 to 255")
    ]  # fmt: skip


def test_several_tables_of_pixels_of_one_split_are_not_joined(tmp_path):
    _, lines = pixel_rows(8)
    for name in ("letters", "digits"):
        rows(tmp_path / f"emnist-{name}-train.csv", *(f"{i % 2},{line}" for i, line in enumerate(lines)))
    assert "give one file" in refused(tmp_path)


def test_numbers_in_many_columns_are_a_table(tmp_path):
    rng = np.random.default_rng(2)
    values = rng.normal(size=(60, 64)).round(3)
    rows(tmp_path / "t.csv", "label," + ",".join(f"p{i}" for i in range(64)),
         *(f"{i % 2}," + ",".join(map(str, row)) for i, row in enumerate(values)))  # fmt: skip
    assert read(tmp_path / "t.csv").format == "csv"


def test_a_table_of_values_without_header_is_called_so(tmp_path):
    rows(tmp_path / "t.csv", *(f"{i % 2},0,0.5,{i}" for i in range(20)))
    assert "its first line seems to contain values" in refused(tmp_path / "t.csv")


def test_whole_floats_are_classes_in_npz_as_in_csv(tmp_path):
    x = np.random.default_rng(3).integers(0, 255, (60, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(60.0) % 2)
    np.savez(tmp_path / "b.npz", x=x, y=np.arange(60.0) / 2)
    assert read(tmp_path / "a.npz").task == "classify"
    assert read(tmp_path / "b.npz").task == "regress"


@pytest.mark.parametrize(
    "names", [("训练集", "验证集", "测试集"), ("训练", "验证", "测试"), ("1_训练图片", "2_验证图片", "3_测试图片")]
)
def test_split_names_in_chinese(tmp_path, names):
    for split in names:
        for kind in ("猫", "狗"):
            images(tmp_path / split / kind, [f"{split}{i}" for i in range(4)])
    data = read(tmp_path)
    assert set(data.classes) == {"猫", "狗"}
    expected = {f"{split}{i}.jpg": number for number, split in enumerate(names) for i in range(4)}
    assert splits(data) == {name: (TRAIN, VAL, TEST)[number] for name, number in expected.items()}


def test_a_class_that_contains_a_split_name_is_a_class(tmp_path):
    for kind in ("训练师", "测试员"):
        images(tmp_path / kind, [f"{kind}{i}" for i in range(4)])
    assert set(read(tmp_path).classes) == {"训练师", "测试员"}


def test_a_split_of_another_language_beside_a_test_set_is_named(tmp_path):
    for split in ("entrainement", "test"):
        for kind in ("cat", "dog"):
            images(tmp_path / split / kind, [f"{split}{i}" for i in range(4)])
    assert "entrainement/ has the class folders of test/, but its name is not that of a split" in refused(tmp_path)


def test_class_folders_get_the_names_of_a_json_beside_them(tmp_path):
    for split in ("train", "valid"):
        for number in "123":
            images(tmp_path / split / number, [f"{split}{number}{i}" for i in range(4)])
    text(tmp_path / "cat_to_name.json", {"1": "rose", "2": "lily", "3": "fern", "4": "moss"})
    data = read(tmp_path)
    assert data.classes == ("rose", "lily", "fern")
    assert {data.classes[k] for k in data.targets.tolist()} == {"rose", "lily", "fern"}
    assert "class folders get the names in cat_to_name.json (1 is 'rose')" in data.notes
    assert read(tmp_path / "valid").classes == data.classes


@pytest.mark.parametrize(
    "names",
    [{"1": "rose"}, {"1": "rose", "2": "rose"}, {"1": "rose", "2": 7}, ["rose", "lily"], "{", {"1": "rose", "2": " "}],
)
def test_other_json_files_do_not_rename_classes(tmp_path, names):
    for number in "12":
        images(tmp_path / number, [f"{number}{i}" for i in range(4)])
    text(tmp_path / "names.json", names)
    assert read(tmp_path, format="folder").classes == ("1", "2")


def test_classes_in_file_names_are_read_on_request(tmp_path):
    names = [f"{kind}{i}" for kind in ("cat.", "great_dane_") for i in range(6)] + ["07-rust", "08-rust"]
    images(tmp_path, names)
    assert "the names of the images hold cat, great_dane, rust" in refused(tmp_path)
    data = read(tmp_path, format="file-names")
    assert data.classes == ("cat", "great_dane", "rust")
    counts = {name: data.targets.tolist().count(k) for k, name in enumerate(data.classes)}
    assert counts == {"cat": 6, "great_dane": 6, "rust": 2}


def test_names_that_differ_everywhere_or_nowhere_hold_no_classes(tmp_path):
    images(tmp_path / "one", [f"IMG_{i}" for i in range(12)])
    images(tmp_path / "other", [f"{chr(97 + i)}" for i in range(12)])
    for name in ("one", "other"):
        assert "if these are their classes" not in refused(tmp_path / name)


def test_an_image_without_a_class_in_its_name_is_a_problem(tmp_path):
    images(tmp_path, [*(f"cat_{i}" for i in range(30)), *(f"dog_{i}" for i in range(30)), "0042"])
    data = read(tmp_path, format="file-names")
    assert data.classes == ("cat", "dog")
    assert [(one.where, one.reason) for one in data.problems] == [("0042.jpg", "its name holds no class")]

"""The table of data formats: the readers of each, and every fact about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.config import DataConfig
from danlu.data.dataset import Dataset
from danlu.data.evidence import Evidence, Fit
from danlu.data.sources import (
    bdd100k,
    bop,
    cifar,
    clip_arrays,
    clips,
    coco,
    createml,
    csv,
    cvat,
    fgvc_aircraft,
    folder,
    idx,
    instance_masks,
    json_labels,
    label_lines,
    label_masks,
    label_studio,
    labelled_csv,
    labelme,
    linemod,
    mot,
    npz,
    parquet,
    supervisely,
    tiny_imagenet,
    unread,
    via,
    voc,
    wider_face,
    ycb_video,
    yolo,
)
from danlu.data.sources.targets import Task
from danlu.data.survey import Survey
from danlu.message import message
from danlu.refuse import Refusal, refusal
from danlu.task_spec import TASKS, TaskName

Opener = Callable[[Any, DataConfig, Task | None], Dataset]
OBJECTS: tuple[TaskName, ...] = ("detect", "segment")
BOXES: tuple[TaskName, ...] = ("detect",)
CLASSES: tuple[TaskName, ...] = ("classify",)
LABELS: tuple[TaskName, ...] = ("classify", "multilabel", "regress")


@dataclass(frozen=True)
class Format:
    """One format on disk.

    look: survey -> evidence for it, or None. open: (survey, config, task) -> Dataset. tasks: that its data can have,
    the default first. layout: its files in one line. reader: the library that reads it; danlu's own code by default.
    tests: the test file. sets: published sets that it is tested or measured on. on_request: read only with --format.
    """

    description: str
    look: Callable[[Survey], Evidence | None]
    open: Opener
    tasks: tuple[TaskName, ...] = ()
    layout: str = ""
    tests: str = ""
    reader: str = "danlu"
    sets: str = ""
    on_request: bool = False

    @property
    def outlines(self) -> bool:
        """It holds outlines of objects, from which label maps can be drawn."""
        return any(TASKS[task].masks for task in self.tasks)

    def can_serve(self, task: TaskName) -> bool:
        """Return whether data of this format can be read for a task of its kind."""
        if TASKS[task].labels_pixels:
            return self.outlines or task in self.tasks
        return self.objects == TASKS[task].finds_objects and not any(TASKS[one].labels_pixels for one in self.tasks)

    @property
    def objects(self) -> bool:
        """It holds objects to find in images, to detect or to segment."""
        return any(TASKS[task].finds_objects for task in self.tasks)


def _on_path(looks_like: Callable[[Path], bool], what: str) -> Callable[[Survey], Evidence | None]:
    """`look` of a format that is recognised by its path alone."""

    def look(data: Survey) -> Evidence | None:
        return Evidence(Fit.MARKED, message("data.seen.path", "{what}", what=what)) if looks_like(data.path) else None

    return look


def _of_path(opener: Opener) -> Opener:
    """`open` of a format that lists its files itself, and so must not meet a link out of the data folder."""

    def open(data: Any, config: DataConfig, task: Task | None) -> Dataset:
        if isinstance(data, Survey) and data.links_out:
            link = data.links_out[0]
            raise Refusal(
                message(
                    "data.refuse.format_table",
                    "{path}: {where} is {reason}",
                    path=data.path,
                    where=link.where,
                    reason=link.reason,
                )
            )
        return opener(data.path if isinstance(data, Survey) else data, config, task)

    return open


TOOLS = "sources/test_annotation_tools.py"  # tests of the exports of annotation tools
OWN_DATA = "test_own_data.py"  # tests of layouts that users reported
FORMATS = {
    "idx": Format(
        "MNIST-style idx files, raw or .gz",
        _on_path(idx.looks_like, "idx files"),
        _of_path(idx.open),
        CLASSES,
        "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-...",
        "sources/test_idx.py",
        sets="MNIST",
    ),
    "cifar": Format(
        "CIFAR-10 or CIFAR-100, binary or python batches",
        _on_path(cifar.looks_like, "CIFAR's batches"),
        _of_path(cifar.open),
        CLASSES,
        "data_batch_1 ... test_batch, or train and test",
        "sources/test_cifar.py",
    ),
    "npz": Format(
        "an .npz file with arrays x and y",
        _on_path(npz.looks_like, "an .npz file"),
        _of_path(npz.open),
        ("classify", "multilabel", "regress"),
        "one file: x (N, H, W), (N, H, W, C), (N, D) or clips (N, T, C, H, W), y (N,), or (N, T), or (N, K) of 0 and 1",
        "sources/test_npz.py",
        reader="numpy",
    ),
    "bop": Format(
        "BOP scenes with 6D poses and meshes",
        bop.look,
        bop.open,
        ("pose", "detect"),
        "models/obj_000001.ply, models/models_info.json, SPLIT/SCENE/scene_gt.json, scene_camera.json, rgb/000001.png",
        "sources/test_bop.py",
        sets="LM-O",
    ),
    "ycb video": Format(
        "YCB-Video: poses in -meta.mat beside each image, and point clouds",
        ycb_video.look,
        ycb_video.open,
        ("pose", "detect"),
        "data/0000/000001-color.png, -meta.mat, -label.png, -box.txt; models/CLASS/points.xyz; image_sets/train.txt",
        "sources/test_ycb_and_linemod.py",
    ),
    "linemod": Format(
        "LINEMOD: gt.yml and info.yml of the preprocessed release, or the original rot0.rot and tra0.tra",
        linemod.look,
        linemod.open,
        ("pose", "detect"),
        "data/01/rgb/0000.png, gt.yml, info.yml, models/obj_01.ply; or OBJECT/data/color0.jpg, rot0.rot, tra0.tra, "
        "OBJECT/mesh.ply",
        "sources/test_ycb_and_linemod.py",
    ),
    "coco": Format(
        "COCO json of boxes or masks",
        coco.look,
        coco.open,
        OBJECTS,
        "annotations/instances_SPLIT.json, images in any folder; or _annotations.coco.json beside them",
        "sources/test_coco.py",
    ),
    "voc": Format(
        "Pascal VOC xml of boxes",
        voc.look,
        voc.open,
        BOXES,
        "Annotations/NAME.xml, JPEGImages/NAME.jpg, ImageSets/Main/SPLIT.txt; or the xml beside the images",
        "sources/test_voc.py",
        sets="BCCD",
    ),
    "yolo": Format(
        "YOLO or Darknet txt of boxes or polygons",
        yolo.look,
        yolo.open,
        OBJECTS,
        "images/SPLIT/NAME.jpg, labels/SPLIT/NAME.txt, data.yaml or obj.data; or no such file",
        "sources/test_yolo.py",
    ),
    "labelme": Format(
        "LabelMe json beside each image", labelme.look, labelme.open, OBJECTS, "NAME.json beside NAME.jpg", TOOLS
    ),
    "cvat": Format(
        "CVAT for images 1.1, an xml file of boxes, polygons and masks",
        cvat.look,
        cvat.open,
        OBJECTS,
        "annotations.xml, images below",
        TOOLS,
    ),
    "via": Format(
        "VIA (VGG Image Annotator) json or csv of regions",
        via.look,
        via.open,
        OBJECTS,
        "via_region_data.json beside the images of each split",
        TOOLS,
    ),
    "createml": Format(
        "CreateML json of boxes",
        createml.look,
        createml.open,
        BOXES,
        "_annotations.createml.json beside the images",
        TOOLS,
    ),
    "supervisely": Format(
        "Supervisely json of rectangles, polygons and bitmaps",
        supervisely.look,
        supervisely.open,
        OBJECTS,
        "DATASET/img/NAME.jpg, DATASET/ann/NAME.jpg.json, meta.json",
        "test_public_sets.py",
    ),
    "bdd100k": Format(
        "BDD100K (Scalabel) json of boxes",
        bdd100k.look,
        bdd100k.open,
        BOXES,
        "images/SPLIT/NAME.jpg, and a json per split, or one per image",
        "test_public_sets.py",
    ),
    "tiny imagenet": Format(
        "Tiny ImageNet: class folders, and a list of classes for the validation images",
        tiny_imagenet.look,
        tiny_imagenet.open,
        CLASSES,
        "train/CLASS/images/NAME.JPEG, val/images/..., val/val_annotations.txt",
        "test_public_sets.py",
    ),
    "fgvc aircraft": Format(
        "FGVC-Aircraft: lists of the variant, family and manufacturer of each image",
        fgvc_aircraft.look,
        fgvc_aircraft.open,
        CLASSES,
        "images/NAME.jpg, images_variant_train.txt, images_variant_val.txt, images_variant_test.txt; --target family",
        "test_adversarial_sets.py",
    ),
    "mot": Format(
        "MOT Challenge: a table of boxes for each folder of frames",
        mot.look,
        mot.open,
        BOXES,
        "SPLIT/SEQUENCE/img1/000001.jpg, SPLIT/SEQUENCE/gt/gt.txt; identities are not used",
        "test_adversarial_sets.py",
    ),
    "wider face": Format(
        "WIDER FACE txt of images and boxes",
        wider_face.look,
        wider_face.open,
        BOXES,
        "WIDER_train/images/..., wider_face_split/wider_face_train_bbx_gt.txt",
        "test_public_sets.py",
    ),
    "visdrone": Format(
        "VisDrone txt of boxes",
        label_lines.look_visdrone,
        label_lines.open_visdrone,
        BOXES,
        "SPLIT/images/NAME.jpg, SPLIT/annotations/NAME.txt",
        "test_public_sets.py",
    ),
    "label studio": Format(
        "Label Studio json, JSON-MIN or csv of rectangles and polygons",
        label_studio.look,
        label_studio.open,
        OBJECTS,
        "one json or csv, images below",
        TOOLS,
    ),
    "label studio choices": Format(
        "Label Studio json, JSON-MIN or csv of choices, the labels of an image",
        label_studio.look_choices,
        label_studio.open_choices,
        ("classify", "multilabel"),
        "one json or csv, images below",
        "test_exports.py",
    ),
    "kitti": Format(
        "KITTI label_2 txt of boxes",
        label_lines.look_kitti,
        label_lines.open_kitti,
        BOXES,
        "training/image_2/NAME.png, training/label_2/NAME.txt",
        TOOLS,
    ),
    "dota": Format(
        "DOTA labelTxt of oriented boxes",
        label_lines.look_dota,
        label_lines.open_dota,
        BOXES,
        "images/NAME.png, labelTxt/NAME.txt; the boxes that enclose the oriented ones",
        TOOLS,
    ),
    "csv boxes": Format(
        "csv of images and boxes (also Open Images)",
        labelled_csv.look_boxes,
        labelled_csv.open_boxes,
        BOXES,
        "a csv with columns of the image, the class and x1, y1, x2, y2 (or x, y, width, height)",
        OWN_DATA,
    ),
    "csv images": Format(
        "csv of images and their label (Kaggle)",
        labelled_csv.look_images,
        labelled_csv.open_images,
        LABELS,
        "a csv with a column of the image and one of its label, its labels (`cat;dog`) or a number",
        "sources/test_label_sets.py",
    ),
    "csv classes": Format(
        "csv of images and a column of 0 and 1 per class",
        labelled_csv.look_classes,
        labelled_csv.open_classes,
        ("classify", "multilabel"),
        "a csv with a column of the image and one per class; Roboflow's SPLIT/_classes.csv",
        "sources/test_label_sets.py",
    ),
    "json labels": Format(
        "json of images and their label: lines, a list, or a map by name",
        json_labels.look_labels,
        json_labels.open_labels,
        ("classify", "multilabel", "regress"),
        'metadata.jsonl beside the images of each split (Hugging Face image folders); or `{"a.jpg": "cat"}`',
        "sources/test_json_labels.py",
    ),
    "json boxes": Format(
        "lines of json of images and their boxes (Hugging Face image folders)",
        json_labels.look_boxes,
        json_labels.open_boxes,
        BOXES,
        "metadata.jsonl beside the images of each split, with objects: bbox (x, y, width, height) and categories",
        "sources/test_json_labels.py",
    ),
    "parquet": Format(
        "Parquet or Arrow files of images and labels (Hugging Face datasets)",
        parquet.look_labels,
        parquet.open_labels,
        LABELS,
        "data/train-00000-of-00001.parquet, ...; class names in the schema, dataset_info.json or README.md",
        "sources/test_parquet.py",
        reader="pyarrow",
    ),
    "parquet boxes": Format(
        "Parquet or Arrow files of images and boxes (Hugging Face datasets)",
        parquet.look_boxes,
        parquet.open_boxes,
        BOXES,
        "as parquet, with a column of objects: bbox (x, y, width, height) and category",
        "sources/test_parquet.py",
        reader="pyarrow",
    ),
    "object masks": Format(
        "a folder of mask files per image, one per object",
        instance_masks.look_objects,
        instance_masks.open_objects,
        ("segment", "detect"),
        "ID/images/ID.png, ID/masks/*.png",
        OWN_DATA,
        sets="nuclei of the Data Science Bowl 2018",
    ),
    "instance masks": Format(
        "a folder of images and one of instance masks",
        instance_masks.look,
        instance_masks.open,
        ("segment", "detect"),
        "images/NAME.jpg, masks/NAME.png with a number per object",
        "sources/test_instance_masks.py",
        sets="Penn-Fudan",
    ),
    "binary masks": Format(
        "as instance masks; each separate region of a mask is an object",
        instance_masks.look,
        instance_masks.open_binary,
        ("segment", "detect"),
        "images/NAME.jpg, masks/NAME.png of 0 and another value",
        OWN_DATA,
        on_request=True,
    ),
    "label masks": Format(
        "a folder of images and one of masks with a class per pixel",
        label_masks.look,
        label_masks.open,
        ("semantic",),
        "images/NAME.jpg, masks/NAME.png of class numbers, a palette, 0 and 255, or colours (class_dict.csv); VOC's "
        "SegmentationClass; Cityscapes' leftImg8bit and gtFine",
        "sources/test_label_masks.py",
        sets="Penn-Fudan as VOC",
    ),
    "clips": Format(
        "a folder per class with one subfolder of numbered frames per clip",
        clips.look,
        clips.open,
        CLASSES,
        "CLASS/CLIP/0001.jpg, or SPLIT/CLASS/CLIP/0001.jpg; on request an .npz file of clips (N, T, C, H, W) or "
        "(N, T, H, W)",
        "sources/test_clips.py",
    ),
    "clip arrays": Format(
        "a folder of .npy arrays per class, each one clip",
        clip_arrays.look,
        clip_arrays.open,
        CLASSES,
        "CLASS/NAME.npy or SPLIT/CLASS/NAME.npy of shape (T, H, W), (T, H, W, C) or (T, C, H, W)",
        "sources/test_clip_arrays.py",
        reader="numpy",
    ),
    "folder": Format(
        "a folder with one subfolder of images per class",
        folder.look,
        folder.open,
        CLASSES,
        "CLASS/NAME.jpg, or SPLIT/CLASS/NAME.jpg",
        "sources/test_folder.py",
        sets="CIFAR-10 as JPEG, 17 flowers",
    ),
    "csv": Format(
        "a .csv or .tsv table with a target column",
        csv.look,
        csv.open,
        ("classify", "regress"),
        "one file with a header; the target is the last column or --target",
        "sources/test_csv.py",
        reader="pandas",
        sets="California housing",
    ),
    **{
        name: Format(description, look, unread.open, on_request=True)
        for name, (description, look) in unread.FORMATS.items()
    },
}


def readable_formats() -> dict[str, Format]:
    """The formats that are read, without those that are only recognised and named."""
    return {name: form for name, form in FORMATS.items() if name not in unread.FORMATS}


def format_named(name: str) -> str:
    """The format that --format names, whatever its spelling. Raises Refusal for an unknown one."""
    plain = " ".join(name.lower().replace("-", " ").replace("_", " ").split())
    if plain not in readable_formats():
        known = [one.replace(" ", "-") for one in readable_formats()]
        raise refusal(
            "--format",
            message("data.wanted.known_format_danlu_formats", "a known format (`danlu formats` lists them)"),
            name,
            near=known,
        )
    return plain

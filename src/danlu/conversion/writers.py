"""Writers of data sets in the formats of others, one function per format, and their table."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from danlu.conversion.converted_images import Box, ConvertedImage
from danlu.conversion.outlines import mask_of, ring_of, run_lengths
from danlu.data.annotations import Polygons
from danlu.data.format_spec import BOXES, CLASSES, OBJECTS
from danlu.message import UNPRINTABLE, message, printable_line
from danlu.refuse import refusal
from danlu.task_spec import TaskName

Place = Callable[[ConvertedImage], Path]  # where an image lies below the folder of the converted set
Writer = Callable[[Path, Sequence[ConvertedImage], Sequence[str], Place], None]


@dataclass(frozen=True)
class Target:
    """One format that can be written.

    tasks: of data that it can hold. place: sample and classes -> path of its image. write: writes everything but the
    images: (folder, samples, classes, path of an image). ignores: objects can be marked as ignored.
    """

    tasks: tuple[TaskName, ...]
    place: Callable[[ConvertedImage, Sequence[str]], Path]
    write: Writer
    ignores: bool = False


def coco_place(sample: ConvertedImage, classes: Sequence[str]) -> Path:
    """Path of an image in a COCO set: images/SPLIT/NAME."""
    return Path("images", sample.split, sample.name)


def voc_place(sample: ConvertedImage, classes: Sequence[str]) -> Path:
    """Path of an image in a VOC set: JPEGImages/NAME, whatever its split."""
    return Path("JPEGImages", sample.name)


def folder_place(sample: ConvertedImage, classes: Sequence[str]) -> Path:
    """Path of an image in class folders: SPLIT/CLASS/NAME."""
    assert sample.label is not None
    return Path(sample.split, classes[sample.label], sample.name)


def write_coco(folder: Path, samples: Sequence[ConvertedImage], classes: Sequence[str], place: Place) -> None:
    """annotations/instances_SPLIT.json, or instances_default.json where there are no splits; images in images/SPLIT."""
    categories = [{"id": k, "name": name} for k, name in enumerate(classes, 1)]
    for split in dict.fromkeys(sample.split for sample in samples):
        images, annotations = list[dict[str, Any]](), list[dict[str, Any]]()
        for sample in samples:
            if sample.split != split:
                continue
            height, width = sample.size
            images.append({"id": len(images) + 1, "file_name": sample.name, "height": height, "width": width})
            for box in sample.objects:
                fields = _coco_object(box, sample.size)
                annotations.append({"id": len(annotations) + 1, "image_id": len(images)} | fields)
        content = {"images": images, "annotations": annotations, "categories": categories}
        _write(folder / "annotations" / f"instances_{split or 'default'}.json", json.dumps(content, ensure_ascii=False))


def _coco_object(box: Box, size: tuple[int, int]) -> dict[str, Any]:
    x1, y1, x2, y2 = (round(value, 3) for value in box.corners)
    fields: dict[str, Any] = {
        "category_id": box.label + 1,
        "bbox": [x1, y1, round(x2 - x1, 3), round(y2 - y1, 3)],
        "area": round((x2 - x1) * (y2 - y1), 3),
        "iscrowd": int(box.ignore),
    }
    if box.shape is not None:
        mask = mask_of(box.shape, size)
        fields["area"] = int(mask.sum())
        if isinstance(box.shape, Polygons) and not box.ignore:
            fields["segmentation"] = [ring.reshape(-1).tolist() for ring in box.shape.rings]
        else:
            fields["segmentation"] = {"size": list(size), "counts": run_lengths(mask)}
    return fields


def write_yolo(folder: Path, samples: Sequence[ConvertedImage], classes: Sequence[str], place: Place) -> None:
    """data.yaml, and labels/SPLIT/NAME.txt for images/SPLIT/NAME: boxes, or polygons where there are masks."""
    splits = list(dict.fromkeys(sample.split for sample in samples))
    lines = ["path: .", *(f"{split or 'train'}: images/{split}".rstrip("/") for split in splits)]
    names = [f"  {k}: {_quoted(name)}" for k, name in enumerate(classes)]
    _write(folder / "data.yaml", "\n".join([*lines, "names:", *names]) + "\n")
    for sample in samples:
        rows = [_yolo_object(box, sample.size) for box in sample.objects if not box.ignore]
        target = folder / "labels" / sample.split / f"{Path(sample.name).stem}.txt"
        _write(target, "".join(f"{row}\n" for row in rows))


def _quoted(name: str) -> str:
    """A class name as a string in JSON and YAML, which forbids more control characters than JSON does."""
    return UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(name, ensure_ascii=False))


def _yolo_object(box: Box, size: tuple[int, int]) -> str:
    height, width = size
    ring = ring_of(box.shape, size) if box.shape is not None else np.zeros((0, 2))
    x1, y1, x2, y2 = box.corners
    if len(ring):
        numbers = (ring / (width, height)).clip(0, 1).reshape(-1).tolist()
    else:
        numbers = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
    return " ".join([str(box.label), *(f"{number:.8g}" for number in numbers)])


def write_voc(folder: Path, samples: Sequence[ConvertedImage], classes: Sequence[str], place: Place) -> None:
    """Annotations/NAME.xml, ImageSets/Main/SPLIT.txt; boxes in integer pixels that count from 1.

    Raises Refusal for a class with control characters, which XML forbids.
    """
    if bad := [name for name in classes if printable_line(name) != name]:
        raise refusal(
            "--to",
            message(
                "conversion.wanted.another_format_xml_cannot",
                "another format, as XML cannot hold the class {bad!r}",
                bad=bad[0],
            ),
            "voc",
        )
    for sample in samples:
        root = ElementTree.Element("annotation")
        _add(root, folder="JPEGImages", filename=sample.name)
        size = ElementTree.SubElement(root, "size")
        _add(size, width=sample.size[1], height=sample.size[0], depth=3)
        for box in sample.objects:
            entry = ElementTree.SubElement(root, "object")
            _add(entry, name=classes[box.label], difficult=int(box.ignore))
            _add(ElementTree.SubElement(entry, "bndbox"), **_voc_box(box, sample.size))
        ElementTree.indent(root)
        text = ElementTree.tostring(root, encoding="unicode")
        _write(folder / "Annotations" / f"{Path(sample.name).stem}.xml", text + "\n")
    for split in {sample.split for sample in samples} - {""}:
        names = [Path(sample.name).stem for sample in samples if sample.split == split]
        _write(folder / "ImageSets" / "Main" / f"{split}.txt", "".join(f"{name}\n" for name in names))


def _voc_box(box: Box, size: tuple[int, int]) -> dict[str, int]:
    """Integer corners from 1, both included, at least two pixels apart: readers take equal ones for no box."""
    height, width = size
    (x1, x2), (y1, y2) = (
        _apart(round(low) + 1, round(high), limit)
        for low, high, limit in ((box.corners[0], box.corners[2], width), (box.corners[1], box.corners[3], height))
    )
    return {"xmin": x1, "ymin": y1, "xmax": x2, "ymax": y2}


def _apart(low: int, high: int, limit: int) -> tuple[int, int]:
    if high > low:
        return low, high
    return (low, low + 1) if low < limit else (limit - 1, limit)


def _add(parent: ElementTree.Element, **fields: Any) -> None:
    for name, value in fields.items():
        ElementTree.SubElement(parent, name).text = str(value)


def write_folder(folder: Path, samples: Sequence[ConvertedImage], classes: Sequence[str], place: Place) -> None:
    """Nothing beside the images, which lie in SPLIT/CLASS. Raises Refusal for a class that cannot be a folder."""
    for name in classes:
        if (
            name != name.strip()
            or name.startswith(".")
            or any(mark in name for mark in '/\\:*?"<>|')
            or printable_line(name) != name
        ):
            raise refusal(
                "--to",
                message(
                    "conversion.wanted.another_format_class_can",
                    "another format, as the class {name!r} can be no folder's name",
                    name=name,
                ),
                "folder",
            )


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


TARGETS: dict[str, Target] = {
    "coco": Target(OBJECTS, coco_place, write_coco, ignores=True),
    "yolo": Target(OBJECTS, coco_place, write_yolo),
    "voc": Target(BOXES, voc_place, write_voc, ignores=True),
    "folder": Target(CLASSES, folder_place, write_folder),
}

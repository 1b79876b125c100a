"""Readers of layouts: annotated images as a library reads them, in the form of the layouts' truth.

A reader receives the folder; datumaro also the format (`named`), as far as it has one. A class of "" is not compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

Found = dict[str, list[tuple[str, float, float, float, float]]]
DATUMARO = {  # layout -> names of its importers that may fit, the first that reads it right counts
    "voc": ("voc", "voc_detection"),
    "voc_in_images_and_annotations": ("voc", "voc_detection"),
    "voc_in_subfolders": ("voc", "voc_detection"),
    "coco": ("coco", "coco_instances"),
    "coco_of_roboflow": ("roboflow_coco", "coco"),
    "coco_with_a_flat_polygon": ("coco", "coco_instances"),
    "coco_with_an_empty_box": ("coco", "coco_instances"),
    "yolo": ("yolo", "yolo_ultralytics", "yolo_loose"),
    "yolo_with_names_on_and_off": ("yolo", "yolo_ultralytics", "yolo_loose"),
    "yolo_without_a_yaml": ("yolo", "yolo_ultralytics", "yolo_loose"),
    "darknet": ("yolo", "yolo_loose"),
    "labelme": ("label_me",),
    "cvat": ("cvat",),
    "createml": ("roboflow_create_ml",),
    "kitti": ("kitti", "kitti_detection", "kitti_raw"),
    "dota": ("dota",),
    "open_images": ("open_images",),
    "mask_per_object": ("common_semantic_segmentation",),
}


def danlu(folder: Path, name: str) -> list[Found]:
    from danlu.config import DataConfig
    from danlu.data.formats import open_dataset

    dataset = open_dataset(DataConfig(path=str(folder)))
    found: Found = {}
    for path, target in zip(dataset.inputs.paths, dataset.targets):
        key = path.relative_to(folder).as_posix()
        found[key] = [(dataset.classes[k], *box) for k, box in zip(target.labels.tolist(), target.boxes.tolist())]
    return [found]


def datumaro(folder: Path, name: str) -> list[Found]:
    import datumaro

    return [_of_datumaro(datumaro.Dataset.import_from(str(folder)))]


def datumaro_named(folder: Path, name: str) -> list[Found]:
    import datumaro

    found = []
    for importer in DATUMARO.get(name, ()):
        try:
            found.append(_of_datumaro(datumaro.Dataset.import_from(str(folder), importer)))
        except Exception:  # any importer may fail in its own way
            continue
    return found


def _of_datumaro(dataset: Any) -> Found:
    from datumaro import AnnotationType as Kind

    names = dataset.categories().get(Kind.label)
    found: Found = {}
    for item in dataset:
        rows = found.setdefault(item.id, [])
        for one in item.annotations:
            if one.type in (Kind.bbox, Kind.polygon, Kind.mask, Kind.rotated_bbox):
                x, y, w, h = one.get_bbox()
                label = names[one.label].name if names is not None and one.label is not None else ""
                rows.append((label, x, y, x + w, y + h))
    return found


def supervision(folder: Path, name: str) -> list[Found]:
    """supervision has no recognition: it gets the folders, and the annotations' or the yaml's path."""
    import supervision

    read = supervision.DetectionDataset
    sets = []
    if name.startswith("voc"):
        images = next(p for p in (folder / "JPEGImages", folder / "images") if p.exists())
        notes = next(p for p in (folder / "Annotations", folder / "annotations") if p.exists())
        sets.append(read.from_pascal_voc(str(images), str(notes)))
    elif name.startswith("coco"):
        for file in sorted(folder.rglob("*.json")):
            images = next(p for p in (folder / "images/train", folder / "images", file.parent) if p.exists())
            sets.append(read.from_coco(str(images), str(file)))
    elif name.startswith("yolo"):
        file = next(iter(folder.glob("*.yaml")), None)
        for split in ("train", "val") if file else ():
            sets.append(read.from_yolo(str(folder / "images" / split), str(folder / "labels" / split), str(file)))
    found: Found = {}
    for one in sets:
        for path, _, boxes in one:
            rows = zip(boxes.class_id.tolist(), boxes.xyxy.tolist())
            found[Path(path).relative_to(folder).as_posix()] = [(one.classes[k], *box) for k, box in rows]
    return [found] if found else []


READERS = {"danlu": danlu, "datumaro": datumaro, "datumaro, format named": datumaro_named, "supervision": supervision}

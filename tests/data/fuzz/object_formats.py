"""Writers of objects in images: each turns a plan into the files of one format, in one of its usual layouts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from PIL import Image
from truth import Object, Plan, Sample

Writer = Callable[[Plan, Path], None]


def place(root: Path, sample: Sample, folder: str) -> Path:
    """Write the image of a sample into a folder below `root`."""
    sample.path = Path(folder) / sample.name
    (root / sample.path).parent.mkdir(parents=True, exist_ok=True)
    (root / sample.path).write_bytes(sample.content)
    return root / sample.path


def text(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_text(written, encoding="utf-8", newline="\n")


def parts(plan: Plan) -> list[tuple[str, str]]:
    """(split, its folder name) of each split; one part without a name for an undivided set."""
    return list(plan.splits.items()) or [("", "")]


def join(*names: str) -> str:
    return "/".join(name for name in names if name)


def flat(ring: tuple[tuple[float, float], ...]) -> list[float]:
    return [value for corner in ring for value in corner]


# --- json ----------------------------------------------------------------------------------------------------------


def coco(plan: Plan, root: Path) -> None:
    layout = plan.choose("annotations", "beside", "json per split", "labels.json")
    naming = plan.choose("bare", "relative", "absolute", "windows")
    ids = plan.choose("from 1", "from 0", "gaps", "text")
    numbers = {name: {"from 1": k + 1, "from 0": k, "gaps": 7 * k + 3, "text": f"c{k}"}[ids]
               for k, name in enumerate(plan.classes)}  # fmt: skip
    outline = plan.choose("polygons", "run lengths", "no box") if plan.outlines else "none"
    for split, name in parts(plan):
        folder = name if layout == "beside" else join("images", name) if layout == "annotations" else name or "data"
        images, annotations = [], []
        for i, sample in enumerate(plan.of(split)):
            place(root, sample, folder)
            given = {"bare": sample.name, "relative": sample.path.as_posix(), "windows": "C:\\data\\" + sample.name,
                     "absolute": f"/home/me/set/{sample.path.as_posix()}"}[naming]  # fmt: skip
            number = i if ids == "from 0" else f"im{i}" if ids == "text" else i + 1
            width, height = sample.size
            images.append({"id": number, "file_name": given, "width": width, "height": height})
            for thing in sample.objects:
                annotations.append(
                    _coco_entry(len(annotations) + 1, number, numbers.get(thing.label, 999), thing, sample, outline)
                )
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": label, "supercategory": "none"} for label, number in numbers.items()],
        }
        place_of = {
            "annotations": f"annotations/instances_{name or 'default'}.json",
            "beside": join(name, "_annotations.coco.json"),
            "json per split": f"annotations/{name or 'all'}.json",
            "labels.json": join(name, "labels.json"),
        }[layout]
        text(root / place_of, content)


def _coco_entry(number: int, image: object, category: object, thing: Object, sample: Sample, outline: str) -> dict:
    x1, y1, x2, y2 = thing.box
    entry = {"id": number, "image_id": image, "category_id": category, "iscrowd": 0, "area": (x2 - x1) * (y2 - y1)}
    entry["bbox"] = [x1, y1, x2 - x1, y2 - y1]
    if thing.ring is not None and outline in ("polygons", "no box"):
        entry["segmentation"] = [flat(thing.ring)]
        if outline == "no box":
            del entry["bbox"]
    if outline == "run lengths" and not thing.fault:
        filled = np.zeros((sample.size[1], sample.size[0]), np.uint8)
        filled[int(y1) : int(y2), int(x1) : int(x2)] = 1
        column = filled.T.ravel()
        ends = np.flatnonzero(np.diff(column)) + 1
        runs = np.diff(np.concatenate([[0], ends, [column.size]])).tolist()
        entry["segmentation"] = {"counts": ([0] if column[0] else []) + runs, "size": list(filled.shape)}
    return entry


def labelme(plan: Plan, root: Path) -> None:
    layout = plan.choose("beside", "beside", "json folder")
    version = plan.choose("5.4.1", "3.16.7")
    for split, name in parts(plan):
        for sample in plan.of(split):
            place(root, sample, join(name, "images") if layout == "json folder" else name or "set")
            shapes = []
            for thing in sample.objects:
                points = thing.ring or (thing.box[:2], thing.box[2:])
                kind = "polygon" if thing.ring else "rectangle"
                shapes.append(
                    {"label": thing.label, "points": points, "group_id": None, "shape_type": kind, "flags": {}}
                )
            own = f"../images/{sample.name}" if layout == "json folder" else sample.name
            content = {
                "version": version, "flags": {}, "shapes": shapes, "imagePath": own.replace("/", "\\"),
                "imageData": None, "imageHeight": sample.size[1], "imageWidth": sample.size[0],
            }  # fmt: skip
            folder = join(name, "json") if layout == "json folder" else name or "set"
            text(root / folder / f"{sample.stem}.json", content)


def via(plan: Plan, root: Path) -> None:
    kind = plan.choose("region data", "project", "version 1", "csv")
    attribute = plan.choose("label", "class", "kind of thing")
    for split, name in parts(plan):
        entries = {}
        for sample in plan.of(split):
            place(root, sample, name)
            regions = []
            for thing in sample.objects:
                x1, y1, x2, y2 = thing.box
                shape = {"name": "rect", "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
                if thing.ring:
                    xs, ys = zip(*thing.ring)
                    shape = {"name": "polygon", "all_points_x": xs, "all_points_y": ys}
                regions.append({"shape_attributes": shape, "region_attributes": {attribute: thing.label}})
            size = len(sample.content)
            entries[f"{sample.name}{size}"] = {
                "filename": sample.name, "size": size, "file_attributes": {},
                "regions": {str(i): region for i, region in enumerate(regions)} if kind == "version 1" else regions,
            }  # fmt: skip
        if kind == "csv":
            _via_table(root / join(name, "via_region_data.csv"), list(entries.values()))
            continue
        project = {"_via_settings": {}, "_via_img_metadata": entries, "_via_attributes": {"region": {}, "file": {}}}
        content = project if kind == "project" else entries
        text(root / join(name, "via_project.json" if kind == "project" else "via_region_data.json"), content)


def _via_table(path: Path, entries: list[dict[str, Any]]) -> None:
    head = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    rows = []
    for entry in entries:
        regions = entry["regions"] or [{"shape_attributes": {}, "region_attributes": {}}]
        count = len(entry["regions"])
        for i, region in enumerate(regions):
            texts = [json.dumps(region[key], ensure_ascii=False) for key in ("shape_attributes", "region_attributes")]
            rows.append([entry["filename"], str(entry["size"]), "{}", str(count), str(i), *texts])
    text(path, "\n".join([head, *(",".join(_cell(cell, ",") for cell in row) for row in rows)]) + "\n")


def createml(plan: Plan, root: Path) -> None:
    for split, name in parts(plan):
        rows = []
        for sample in plan.of(split):
            place(root, sample, name)
            found = []
            for thing in sample.objects:
                x1, y1, x2, y2 = thing.box
                middle = {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2, "width": x2 - x1, "height": y2 - y1}
                found.append({"label": thing.label, "coordinates": middle})
            rows.append({"image": sample.name, "annotations": found})
        text(root / join(name, "_annotations.createml.json"), rows)


def label_studio(plan: Plan, root: Path) -> None:
    undivided(plan)
    naming = plan.choose("upload", "local", "hash")
    form = plan.choose("json", "json", "json-min", "csv")
    tasks = []
    for i, sample in enumerate(plan.samples):
        place(root, sample, "images")
        width, height = sample.size
        results = []
        for k, thing in enumerate(sample.objects):
            x1, y1, x2, y2 = thing.box
            value = {"x": 100 * x1 / width, "y": 100 * y1 / height, "width": 100 * (x2 - x1) / width,
                     "height": 100 * (y2 - y1) / height, "rotation": 0, "rectanglelabels": [thing.label]}  # fmt: skip
            kind = "rectanglelabels"
            if thing.ring:
                kind = "polygonlabels"
                points = [[100 * x / width, 100 * y / height] for x, y in thing.ring]
                value = {"points": points, "closed": True, "polygonlabels": [thing.label]}
            results.append({"id": f"r{k}", "type": kind, "from_name": "label", "to_name": "image", "value": value,
                            "original_width": width, "original_height": height, "image_rotation": 0})  # fmt: skip
        given = {"upload": f"/data/upload/1/{sample.name}", "local": f"/data/local-files/?d=images/{sample.name}",
                 "hash": f"/data/upload/1/{i:08x}-{sample.name}"}[naming]  # fmt: skip
        if form == "json":
            tasks.append({"id": i + 1, "data": {"image": given}, "annotations": [{"id": i, "result": results}]})
            continue
        flat = [{**one["value"], "original_width": width, "original_height": height} for one in results]
        tasks.append({"image": given, "id": i + 1, "label": flat, "annotator": 1, "annotation_id": i, "lead_time": 3.1})
    if form != "json":  # which leave images without objects out
        tasks = [one for one in tasks if one["label"]]
        for sample in [sample for sample in plan.samples if not sample.objects]:
            (root / sample.path).unlink()
        plan.samples = [sample for sample in plan.samples if sample.objects]
    if form == "csv":
        cells = [[value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in one.values()]
                 for one in tasks]  # fmt: skip
        lines = [",".join(tasks[0]), *(",".join(_cell(cell, ",") for cell in row) for row in cells)]
        text(root / "project-1-at-2024.csv", "\n".join(lines) + "\n")
    else:
        text(root / "project-1-at-2024.json", tasks)


def json_boxes(plan: Plan, root: Path) -> None:
    """metadata.jsonl of Hugging Face's image folders."""
    form = plan.choose("dict of lists", "list of dicts")
    for split, name in parts(plan):
        rows = []
        for sample in plan.of(split):
            place(root, sample, name or "images")
            found = [
                {"bbox": [x1, y1, x2 - x1, y2 - y1], "categories": thing.label}
                for thing in sample.objects for x1, y1, x2, y2 in [thing.box]
            ]  # fmt: skip
            objects = (
                found if form == "list of dicts" else {k: [one[k] for one in found] for k in ("bbox", "categories")}
            )
            rows.append(json.dumps({"file_name": sample.name, "objects": objects}, ensure_ascii=False))
        text(root / (name or "images") / "metadata.jsonl", "\n".join(rows) + "\n")


# --- xml -----------------------------------------------------------------------------------------------------------


def voc(plan: Plan, root: Path) -> None:
    layout = plan.choose("VOC", "flat", "folders", "split/folders", "split flat")
    naming = plan.choose("name", "stem", "path", "nothing")
    if layout in ("flat", "folders"):  # nothing tells the splits
        undivided(plan)
    if layout == "VOC" and plan.splits:
        plan.splits = {split: split for split in plan.splits}  # the lists are called so by the letter
        _own_names(plan)
    for split, name in parts(plan):
        for sample in plan.of(split):
            images, xmls = {
                "VOC": ("JPEGImages", "Annotations"), "flat": ("set", "set"), "folders": ("images", "annotations"),
                "split/folders": (join(name, "images"), join(name, "annotations")), "split flat": (name, name),
            }[layout]  # fmt: skip
            place(root, sample, images)
            given = {"name": sample.name, "stem": sample.stem, "path": sample.name, "nothing": ""}[naming]
            path = f"<path>C:\\Users\\me\\{escape(sample.name)}</path>" if naming == "path" else ""
            objects = "".join(_voc_object(thing) for thing in sample.objects)
            width, height = sample.size
            size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
            body = f"<folder>images</folder><filename>{escape(given)}</filename>{path}{size}{objects}"
            text(root / xmls / f"{sample.stem}.xml", f"<annotation>\n{body}\n</annotation>\n")
    if layout == "VOC":
        for split in plan.splits:
            stems = "".join(f"{sample.stem}\n" for sample in plan.of(split))
            text(root / "ImageSets/Main" / f"{split}.txt", stems)


def _voc_object(thing: Object) -> str:
    x1, y1, x2, y2 = thing.box
    corners = f"<xmin>{x1 + 1:g}</xmin><ymin>{y1 + 1:g}</ymin><xmax>{x2:g}</xmax><ymax>{y2:g}</ymax>"
    head = f"<name>{escape(thing.label)}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>"
    return f"<object>{head}<bndbox>{corners}</bndbox></object>"


def undivided(plan: Plan) -> None:
    """Make a plan one of a set without splits."""
    plan.splits = {}
    _own_names(plan)
    for sample in plan.samples:
        sample.split = ""


def _own_names(plan: Plan) -> None:
    """Give every image a name of its own, for layouts that hold all of them in one folder."""
    for i, sample in enumerate(plan.samples):
        if sum(other.stem == sample.stem for other in plan.samples) > 1:
            sample.stem = f"{sample.stem}-{i}"


def cvat(plan: Plan, root: Path) -> None:
    subsets = plan.choose("subsets", "no subsets") == "subsets"
    if not subsets:
        undivided(plan)
    body, number = "", 0
    for split, name in parts(plan):
        for sample in plan.of(split):
            place(root, sample, join("images", name))
            width, height = sample.size
            subset = f" subset={quoteattr(name)}" if name else ""
            own = join(name, sample.name)
            body += f'  <image id="{number}" name={quoteattr(own)}{subset} width="{width}" height="{height}">\n'
            body += "".join(_cvat_shape(thing) for thing in sample.objects) + "  </image>\n"
            number += 1
    meta = "<version>1.1</version>\n  <meta>\n    <task><id>1</id></task>\n  </meta>\n"
    text(
        root / "annotations.xml",
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  {meta}{body}</annotations>\n',
    )


def _cvat_shape(thing: Object) -> str:
    head = f'label={quoteattr(thing.label)} source="manual" occluded="0" z_order="0"'
    if thing.ring:
        return f'    <polygon {head} points="{";".join(f"{x},{y}" for x, y in thing.ring)}"></polygon>\n'
    x1, y1, x2, y2 = thing.box
    return f'    <box {head} xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}"></box>\n'


# --- lines ---------------------------------------------------------------------------------------------------------


def yolo(plan: Plan, root: Path) -> None:
    layout = plan.choose("images/split", "split/images", "lists", "darknet", "no yaml")
    names = plan.choose("list", "numbers", "block")
    if not plan.splits and layout in ("split/images", "lists"):
        layout = plan.choose("no yaml", "darknet")
    if layout == "darknet" and "val" not in plan.splits and plan.splits:
        layout = plan.choose("images/split")
    if layout in ("lists", "darknet"):
        _own_names(plan)
    for split, name in parts(plan):
        for sample in plan.of(split):
            images, labels = {
                "images/split": (join("images", name), join("labels", name)), "lists": ("images", "labels"),
                "split/images": (join(name, "images"), join(name, "labels")), "darknet": ("obj_train_data",) * 2,
                "no yaml": (join("images", name), join("labels", name)),
            }[layout]  # fmt: skip
            place(root, sample, images)
            lines = [_yolo_line(plan.classes.index(t.label) if t.label in plan.classes else 99, t, sample)
                     for t in sample.objects]  # fmt: skip
            if lines or plan.rng.random() < 0.7:
                text(root / labels / f"{sample.stem}.txt", "".join(f"{line}\n" for line in lines))
    if layout == "darknet":
        _darknet_files(plan, root)
    elif layout == "no yaml":
        text(root / "classes.txt", "".join(f"{name}\n" for name in plan.classes))
    else:
        text(root / plan.choose("data.yaml", "dataset.yaml", "set.yml"), _yaml(plan, layout, names, root))


def _yolo_line(number: int, thing: Object, sample: Sample) -> str:
    width, height = sample.size
    if thing.ring:
        return f"{number} " + " ".join(f"{x / width:.6f} {y / height:.6f}" for x, y in thing.ring)
    x1, y1, x2, y2 = thing.box
    values = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return f"{number} " + " ".join(f"{value:.6f}" for value in values)


def _yaml(plan: Plan, layout: str, names: str, root: Path) -> str:
    lines = []
    if layout == "lists":
        for split in plan.splits:
            text(root / f"{split}.txt", "".join(f"./{s.path.as_posix()}\n" for s in plan.of(split)))
    base = plan.choose("", "path: .\n", "path: ../datasets/set\n") if layout != "split/images" else ""
    for split, name in parts(plan):
        places = {"images/split": join("images", name), "split/images": f"../{name}/images", "lists": f"{split}.txt"}
        lines.append(f"{split or 'train'}: {places[layout]}")
    if not plan.splits:
        lines.append("val: images")
    quoted = [json.dumps(name, ensure_ascii=False) for name in plan.classes]
    lines.append(f"nc: {len(quoted)}")
    if names == "list":
        lines.append(f"names: [{', '.join(quoted)}]")
    elif names == "numbers":
        lines += ["names:", *(f"  {k}: {name}" for k, name in enumerate(quoted))]
    else:
        lines += ["names:", *(f"- {name}" for name in quoted)]
    return base + "\n".join(lines) + "\n"


def _darknet_files(plan: Plan, root: Path) -> None:
    text(root / "obj.names", "".join(f"{name}\n" for name in plan.classes))
    lines = [f"classes = {len(plan.classes)}", "names = data/obj.names", "backup = backup/"]
    for split, name in {"train": "train", "val": "valid", "test": "test"}.items():
        if split in plan.splits or (split == "train" and not plan.splits):
            listed = plan.of(split if plan.splits else "")
            text(root / f"{name}.txt", "".join(f"data/{sample.path.as_posix()}\n" for sample in listed))
            lines.insert(1, f"{name} = data/{name}.txt")
    text(root / "obj.data", "\n".join(lines) + "\n")


def kitti(plan: Plan, root: Path) -> None:
    for split, name in parts(plan):
        for sample in plan.of(split):
            place(root, sample, join(name, "image_2"))
            lines = [f"{t.label} 0.00 0 -1.57 {' '.join(f'{v:.2f}' for v in t.box)} 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59\n"
                     for t in sample.objects]  # fmt: skip
            lines.append("DontCare -1 -1 -10 1.00 1.00 5.00 5.00 -1 -1 -1 -1000 -1000 -1000 -10\n")
            text(root / join(name, "label_2") / f"{sample.stem}.txt", "".join(lines))


def dota(plan: Plan, root: Path) -> None:
    head = plan.choose("", "imagesource:GoogleEarth\ngsd:0.146\n")
    for split, name in parts(plan):
        for sample in plan.of(split):
            place(root, sample, join(name, "images"))
            lines = []
            for thing in sample.objects:
                x1, y1, x2, y2 = thing.box
                turned = ((x1 + x2) / 2, y1, x2, (y1 + y2) / 2, (x1 + x2) / 2, y2, x1, (y1 + y2) / 2)
                corners = (x1, y1, x2, y1, x2, y2, x1, y2) if thing.fault or plan.rng.random() < 0.5 else turned
                lines.append(" ".join(f"{value:.1f}" for value in corners) + f" {thing.label} 0\n")
            text(root / join(name, "labelTxt") / f"{sample.stem}.txt", head + "".join(lines))


# --- csv -----------------------------------------------------------------------------------------------------------


def csv_boxes(plan: Plan, root: Path) -> None:
    dialect = plan.choose(
        "corners", "corners with sizes", "bbox", "x y w h", "no header", "semicolons", "centre", "left top"
    )
    layout = plan.choose("beside", "above", "one file") if plan.splits else plan.choose("beside", "above")
    together: list[list[str]] = []
    if layout == "one file" and dialect == "no header":
        layout = "above"
    if dialect == "bbox":  # has no column of classes
        plan.classes = ["object"]
        for sample in plan.samples:
            sample.objects = [
                replace(thing, label="object", fault=thing.fault.replace("no label", "")) for thing in sample.objects
            ]
    for split, name in parts(plan):
        rows = []
        for sample in plan.of(split):
            place(root, sample, name or "images")
            rows += [_csv_row(dialect, sample, thing) for thing in sample.objects]
            if not sample.objects:
                plan.notes.append(f"{sample.name} is in no row")
        head = {
            "corners": ["image", "xmin", "ymin", "xmax", "ymax", "label"], "no header": None,
            "corners with sizes": ["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"],
            "bbox": ["image_id", "width", "height", "bbox", "source"],
            "x y w h": ["filename", "x", "y", "width", "height", "class"],
            "semicolons": ["image", "xmin", "ymin", "xmax", "ymax", "label"],
            "centre": ["filename", "x_center", "y_center", "width", "height", "class"],
            "left top": ["filename", "left", "top", "width", "height", "class"],
        }[dialect]  # fmt: skip
        separator = ";" if dialect == "semicolons" else ","
        if layout == "one file":
            together += [[*row, split] for row in rows]
            lines = [
                separator.join(_cell(cell, separator) for cell in row) for row in [[*(head or []), "split"], *together]
            ]
            text(root / "boxes.csv", "\n".join(lines) + "\n")
            continue
        lines = [separator.join(_cell(cell, separator) for cell in row) for row in ([head] if head else []) + rows]
        place_of = join(name, "_annotations.csv") if layout == "beside" and name else f"{name or 'labels'}.csv"
        text(root / place_of, "\n".join(lines) + "\n")
    for sample in plan.samples:  # images without a row are not part of a csv
        if not sample.objects:
            (root / sample.path).unlink()
    plan.samples = [sample for sample in plan.samples if sample.objects]


def _csv_row(dialect: str, sample: Sample, thing: Object) -> list[str]:
    x1, y1, x2, y2 = (f"{value:g}" for value in thing.box)
    a, b, c, d = thing.box
    width, height = map(str, sample.size)
    if dialect == "corners with sizes":
        return [sample.name, width, height, thing.label, x1, y1, x2, y2]
    if dialect == "bbox":
        return [sample.name, width, height, f"[{a}, {b}, {c - a}, {d - b}]", "usask"]
    if dialect == "centre":
        return [sample.name, f"{(a + c) / 2:g}", f"{(b + d) / 2:g}", f"{c - a:g}", f"{d - b:g}", thing.label]
    if dialect in ("x y w h", "left top"):
        return [sample.name, x1, y1, f"{c - a:g}", f"{d - b:g}", thing.label]
    return [sample.name, x1, y1, x2, y2, thing.label]


def _cell(value: str, separator: str) -> str:
    return '"' + value.replace('"', '""') + '"' if separator in value or '"' in value else value


# --- masks ---------------------------------------------------------------------------------------------------------


def object_masks(plan: Plan, root: Path) -> None:
    """A mask file per object, as in the nuclei of the 2018 Data Science Bowl."""
    _one_class(plan)
    for split, name in parts(plan):
        for sample in plan.of(split):
            if not sample.objects:
                continue
            place(root, sample, join(name, sample.stem, "images"))
            for k, thing in enumerate(sample.objects):
                save_mask(root / join(name, sample.stem, "masks") / f"{k:03}a.png", sample, [(thing, 255)])
    plan.samples = [sample for sample in plan.samples if sample.objects]


def instance_masks(plan: Plan, root: Path) -> None:
    """A mask per image whose pixels number the objects, as in Penn-Fudan."""
    _one_class(plan)
    images, masks, ending = plan.choose(
        ("PNGImages", "PedMasks", "_mask"), ("images", "masks", ""), ("images", "instance_masks", ""), ("img", "masks", "_mask")
    )  # fmt: skip
    for split, name in parts(plan):
        for sample in plan.of(split):
            place(root, sample, join(name, images))
            numbered = [(thing, k + 1) for k, thing in enumerate(sample.objects)]
            save_mask(root / join(name, masks) / f"{sample.stem}{ending}.png", sample, numbered)


def _one_class(plan: Plan) -> None:
    """One class, and objects that do not cover each other."""
    plan.classes, plan.outlines = ["object"], False
    for sample in plan.samples:
        kept: list[Object] = []
        for thing in sample.objects:
            a = thing.box
            apart = all(a[2] <= o.box[0] or o.box[2] <= a[0] or a[3] <= o.box[1] or o.box[3] <= a[1] for o in kept)
            if apart and not thing.fault:
                kept.append(Object("object", a))
        sample.objects = kept


def save_mask(path: Path, sample: Sample, things: list[tuple[Object, int]]) -> None:
    mask = np.zeros((sample.size[1], sample.size[0]), np.uint8)
    for thing, value in things:
        x1, y1, x2, y2 = map(int, thing.box)
        mask[y1:y2, x1:x2] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


# Name of the format as danlu calls it -> its writer.
OBJECT_FORMATS: dict[str, Writer] = {
    "coco": coco, "voc": voc, "yolo": yolo, "labelme": labelme, "cvat": cvat, "via": via, "createml": createml,
    "label studio": label_studio, "json boxes": json_boxes, "kitti": kitti, "dota": dota, "csv boxes": csv_boxes, "object masks": object_masks,
    "instance masks": instance_masks,
}  # fmt: skip

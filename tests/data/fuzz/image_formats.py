"""Writers of labelled images: folders of classes, and csv files of labels."""

from __future__ import annotations

import json
from pathlib import Path

from object_formats import Writer, join, parts, place, text
from truth import Plan


def folder(plan: Plan, root: Path) -> None:
    plan.choose("")
    for split, name in parts(plan):
        for sample in plan.of(split):
            place(root, sample, join(name, sample.label))


def csv_images(plan: Plan, root: Path) -> None:
    layouts = ("csv per split", "split folders", "one file", "text lists") if plan.splits else ("beside", "above")
    layout = plan.choose(*layouts)
    together: list[str] = []
    with_suffix = plan.choose(True, True, False)
    with_suffix = with_suffix or layout == "text lists"
    header = plan.choose("filename,label", "id_code,diagnosis", "image_id,label", "image,category")
    if with_suffix and layout in ("csv per split", "above") and plan.choose(False, False, True):
        header = ""
    if layout == "text lists":  # whose labels have no spaces
        plan.classes = [name.replace(" ", "_") for name in plan.classes]
        for sample in plan.samples:
            sample.label = sample.label.replace(" ", "_")
    if layout == "one file":
        header = header or "filename,label"
    for split, name in parts(plan):
        rows = [header] if header else []
        for sample in plan.of(split):
            place(root, sample, name or ("images" if layout == "above" else ""))
            cell = sample.name if with_suffix else sample.stem
            rows.append(f'"{cell}",{sample.label}' if "," in cell else f"{cell},{sample.label}")
        if layout == "text lists":
            lines = [f"{sample.path.as_posix()}\t{sample.label}" for sample in plan.of(split)]
            text(root / f"{name}.txt", "\n".join(lines) + "\n")
            continue
        if layout == "one file":
            together += [f"{row},{name}" for row in rows[1:]]
            text(root / "labels.csv", "\n".join([f"{header},split", *together]) + "\n")
            continue
        csv = join(name, "labels.csv") if layout == "split folders" else f"{name or 'labels'}.csv"
        text(root / csv, "\n".join(rows) + "\n")


def csv_classes(plan: Plan, root: Path) -> None:
    """A column of 0 and 1 per class, as Roboflow writes it."""
    plan.choose("")
    for split, name in parts(plan):
        rows = ["filename, " + ", ".join(plan.classes)]
        for sample in plan.of(split):
            place(root, sample, name or "images")
            cell = f'"{sample.name}"' if "," in sample.name else sample.name
            rows.append(f"{cell}, " + ", ".join(str(int(label == sample.label)) for label in plan.classes))
        text(root / join(name, "_classes.csv"), "\n".join(rows) + "\n")


def json_labels(plan: Plan, root: Path) -> None:
    """metadata.jsonl of Hugging Face's image folders, or a map from image to label."""
    form = plan.choose("lines") if plan.splits else plan.choose("lines", "map", "list")
    for split, name in parts(plan):
        folder = name or "images"
        for sample in plan.of(split):
            place(root, sample, folder)
        rows = [{"file_name": sample.name, "label": sample.label} for sample in plan.of(split)]
        if form == "lines":
            text(root / folder / "metadata.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        else:
            text(root / "labels.json", {row["file_name"]: row["label"] for row in rows} if form == "map" else rows)


IMAGE_FORMATS: dict[str, Writer] = {
    "folder": folder,
    "csv images": csv_images,
    "csv classes": csv_classes,
    "json labels": json_labels,
}

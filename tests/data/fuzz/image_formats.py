"""Writers of labelled images: folders of classes, and csv files of labels."""

from __future__ import annotations

from pathlib import Path

from object_formats import Writer, join, parts, place, text
from truth import Plan


def folder(plan: Plan, root: Path) -> None:
    plan.choose("")
    for split, name in parts(plan):
        for sample in plan.of(split):
            place(root, sample, join(name, sample.label))


def csv_images(plan: Plan, root: Path) -> None:
    layout = plan.choose("csv per split", "split folders") if plan.splits else plan.choose("beside", "above")
    with_suffix = plan.choose(True, True, False)
    header = plan.choose("filename,label", "id_code,diagnosis", "image_id,label", "image,category")
    for split, name in parts(plan):
        rows = [header]
        for sample in plan.of(split):
            place(root, sample, name or ("images" if layout == "above" else ""))
            cell = sample.name if with_suffix else sample.stem
            rows.append(f'"{cell}",{sample.label}' if "," in cell else f"{cell},{sample.label}")
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


IMAGE_FORMATS: dict[str, Writer] = {"folder": folder, "csv images": csv_images, "csv classes": csv_classes}

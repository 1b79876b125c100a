"""VIA (VGG Image Annotator): one json or csv file of regions for all images, alone or inside a project file."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from danlu.config import DataConfig
from danlu.data.annotations import Polygons
from danlu.data.dataset import Dataset
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, as_survey
from danlu.data.files.text_files import read_json, read_text
from danlu.data.sources.labelled_images.labelled import wanted_task
from danlu.data.sources.labelled_images.reading import Reading, box_of
from danlu.data.sources.objects.labelme import ellipse, rectangle
from danlu.data.sources.tables.targets import Task
from danlu.data.split_names import split_of, split_of_path
from danlu.message import message
from danlu.refuse import Refusal

SHAPE_COLUMN = "region_shape_attributes"  # of VIA's csv
CLASS_ATTRIBUTES = ("class", "label", "name", "category", "type", "object", "object_name")
ONE_CLASS = "object"  # of regions without attributes


def look(survey: Survey) -> Evidence | None:
    """Recognise json files with VIA's keys, and csv files with its columns."""
    files = survey.json_kinds.get("via") or _tables(survey)
    if not files:
        return None
    return Evidence(Fit.MARKED, message("data.seen.via", "{file} holds regions of VIA", file=files[0].relative))


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and annotations; the class is the only attribute of regions, or that named class or label."""
    survey = as_survey(path)
    reading = Reading(survey, config, "via")
    contents = [(file, read_json(file.path, str(file.path))) for file in survey.json_of("via")]
    tables = () if survey.json_kinds.get("via") else _tables(survey)  # exported in both forms
    contents += [(file, _content_of_table(file, reading)) for file in tables]
    entries = {file: _entries(content) for file, content in contents}
    attributes = {file: _class_attribute(file, own) for file, own in entries.items()}
    unnamed = _unnamed(entries, attributes, reading)
    for file, own in entries.items():
        _read(file, own, attributes[file], reading, unnamed)
    return reading.finish(wanted_task(survey.path, task, masks=reading.has_shapes))


def _tables(survey: Survey) -> list[File]:
    """The csv files of VIA."""
    return [file for file in survey.of(".csv") if SHAPE_COLUMN in next(iter(survey.lines(file)), "").lower()]


def _content_of_table(file: File, reading: Reading) -> dict[str, Any]:
    """The rows of a csv file, one per region, in the form of VIA's json."""
    entries: dict[str, Any] = {}
    reader = csv.DictReader(io.StringIO(read_text(file.path)))
    for row in reader:
        name = (row.get("filename") or row.get("#filename") or "").strip()
        regions = entries.setdefault(name, {"filename": name, "regions": []})["regions"]
        try:
            shape, attributes = (json.loads(row.get(key) or "{}") for key in (SHAPE_COLUMN, "region_attributes"))
        except (ValueError, RecursionError):
            reading.skip(
                f"{file.relative} line {reader.line_num}",
                message("data.problem.attributes_json", "attributes that are not json"),
            )
            continue
        if shape:  # an image without regions has a row too
            regions.append({"shape_attributes": shape, "region_attributes": attributes})
    return entries


def _entries(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of the images."""
    entries = content.get("_via_img_metadata", content)
    return [entry for entry in entries.values() if isinstance(entry, dict)]


def _unnamed(entries: dict[File, list[dict[str, Any]]], attributes: dict[File, str | None], reading: Reading) -> str:
    """Class of regions in files without attributes: that of the other files if they have only one class, else ""."""
    plain = [file for file, attribute in attributes.items() if attribute is None and any(map(_regions, entries[file]))]
    named = Counter(
        label for file, attribute in attributes.items() if attribute is not None
        for entry in entries[file] for region in _regions(entry) if (label := _plain_label(region, attribute))
    )  # fmt: skip
    if not named or not plain:
        return ONE_CLASS
    if len(named) > 1:
        return ""
    label = next(iter(named))
    text = "the regions of {file} have no attributes: they are taken as {label!r}, the only class of the other files"
    reading.notes.append(message("data.note.regions_without_class", text, file=plain[0].relative, label=label))
    return label


def _plain_label(region: dict[str, Any], attribute: str) -> str:
    try:
        return _label(region.get("region_attributes") or {}, attribute, "")
    except ValueError:
        return ""


def _read(file: File, entries: list[dict[str, Any]], attribute: str | None, reading: Reading, unnamed: str) -> None:
    split = split_of(file.stem)
    split = split if split >= 0 else split_of_path(file.folder)
    for entry in entries:
        name = str(entry.get("filename", ""))
        one = reading.image(name, file.relative, near=file.folder, split=split, source=file.relative)
        if one is None:
            continue
        for i, region in enumerate(_regions(entry), 1):
            where = f"{file.relative} {entry['filename']} region {i}"
            shape = region.get("shape_attributes") or {}
            try:
                if shape.get("name") == "point" or not _has_area(shape, reading):
                    reading.leave_out(shape["name"], one)
                    continue
                outline = Polygons((_ring(shape),))
                label = _label(region.get("region_attributes") or {}, attribute, unnamed)
            except (ValueError, TypeError, KeyError) as error:
                reading.skip(where, f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error))
                continue
            reading.entries += 1
            reading.add(one, f"region {i}", label, box_of(outline), outline)


def _regions(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """List the regions, which VIA 1 stores as a map from numbers."""
    regions = entry.get("regions") or []
    values = regions.values() if isinstance(regions, dict) else regions
    return [region for region in values if isinstance(region, dict)]


def _class_attribute(file: File, entries: list[dict[str, Any]]) -> str | None:
    """Find the attribute of the class. Raises Refusal if several are possible."""
    names = Counter(name for entry in entries for region in _regions(entry)
                    for name in (region.get("region_attributes") or {}))  # fmt: skip
    if len(names) <= 1:
        return next(iter(names), None)
    usual = [name for name in names if name.strip().lower() in CLASS_ATTRIBUTES]
    if len(usual) == 1:
        return usual[0]
    if (chosen := _telling(entries, usual or list(names))) is not None:
        return chosen
    text = (
        "{path} gives its regions the attributes {names}, and it is not clear which is the class: call one of them "
        "class"
    )
    raise Refusal(message("data.refuse.gives_regions_attributes_clear", text, path=file.path, names=", ".join(names)))


def _telling(entries: list[dict[str, Any]], names: list[str]) -> str | None:
    """The only attribute with several values, or the first of several that are equal in each region."""
    labels = [[_plain_label(region, name) for name in names] for entry in entries for region in _regions(entry)]
    if all(len(set(row)) == 1 for row in labels):
        return names[0]
    several = [name for name, column in zip(names, zip(*labels)) if len(set(column) - {""}) > 1]
    return several[0] if len(several) == 1 else None


def _label(attributes: dict[str, Any], attribute: str | None, unnamed: str) -> str:
    if attribute is None:
        if not unnamed:
            raise ValueError("no attribute for its class")
        return unnamed
    value = attributes.get(attribute)
    if isinstance(value, dict):  # check boxes: a map from names to true
        chosen = [name for name, on in value.items() if on]
        if len(chosen) != 1:
            raise ValueError(f"{len(chosen)} classes are selected in {attribute}")
        value = chosen[0]
    label = str(value or "").strip()
    if not label:
        raise ValueError(f"no value of {attribute}, the class")
    return label


def _has_area(shape: dict[str, Any], reading: Reading) -> bool:
    """Return whether a region is anything but an open line. Raises as `_ring`."""
    return shape.get("name") != "polyline" or (len(shape["all_points_x"]) > 2 and reading.is_outline(_ring(shape)))


def _ring(shape: dict[str, Any]) -> np.ndarray:
    """Read the polygon (K, 2) of a region. Raises ValueError, TypeError or KeyError."""
    kind = shape.get("name")
    if kind in ("polygon", "polyline"):
        ring = np.stack([np.array(shape["all_points_x"], float), np.array(shape["all_points_y"], float)], axis=1)
        if len(ring) < 3:
            raise ValueError(f"a polygon of {len(ring)} points")
        return ring
    if kind == "rect":
        x, y, width, height = (float(shape[key]) for key in ("x", "y", "width", "height"))
        return rectangle(x, y, x + width, y + height)
    if kind in ("circle", "ellipse"):
        centre = np.array([float(shape["cx"]), float(shape["cy"])])
        radii = [shape.get(name, shape.get("r")) for name in ("rx", "ry")]
        return ellipse(centre, *(float("nan" if radius is None else radius) for radius in radii))
    raise ValueError(f"unknown shape {kind!r}")

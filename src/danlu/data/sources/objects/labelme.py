"""LabelMe: a json file beside each image, with polygons, rectangles, circles and masks of named objects.

Shapes of one label and one group_id are parts of one object; masks are not joined to outlines.
Points and lines are no objects and are counted.
"""

from __future__ import annotations

import base64
import contextlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from danlu.config import DataConfig
from danlu.data.annotations import Polygons, Raster, Shape
from danlu.data.dataset import Dataset
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, as_survey, normal, sample
from danlu.data.files.text_files import read_json
from danlu.data.sources.labelled_images.labelled import wanted_task
from danlu.data.sources.labelled_images.reading import Reading, box_of, corners
from danlu.data.sources.objects.png_masks import Box, joined, png_mask
from danlu.data.sources.tables.targets import Task
from danlu.data.split_names import split_of_path
from danlu.message import message
from danlu.refuse import Refusal

IGNORED = "__ignore__"  # LabelMe's name for regions that belong to no class
NO_AREA = ("point", "points", "line", "linestrip")
CIRCLE_CORNERS = 48  # of the polygon that approximates a circle or an ellipse


def look(survey: Survey) -> Evidence | None:
    """Recognise json files with LabelMe's keys."""
    files = survey.json_kinds.get("labelme")
    if not files or has_only_flags(survey):
        return None
    return Evidence(Fit.MARKED, message("data.seen.labelme", "{files} .json files of LabelMe", files=len(files)))


def has_only_flags(survey: Survey) -> bool:
    """Return whether json files mark whole images by flags, and none of those looked at has a shape."""
    if "labelme flags" not in survey.memo:
        found = []
        for file in sample(survey.json_kinds.get("labelme", [])):
            with contextlib.suppress(Refusal):  # the reader names the fault
                found.append(read_json(file.path, file.relative))
        found = [content for content in found if isinstance(content, dict)]
        flagged = any(map(flags_of, found)) and not any(content.get("shapes") for content in found)
        survey.memo["labelme flags"] = flagged
    return survey.memo["labelme flags"]


def flags_of(content: dict[str, Any]) -> tuple[str, ...]:
    """Names of the flags that are set for an image."""
    flags = content.get("flags")
    return tuple(str(name) for name, on in flags.items() if on is True) if isinstance(flags, dict) else ()


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and annotations, with classes sorted by name; images without a json file are reported."""
    survey = as_survey(path)
    reading = Reading(survey, config, "labelme")
    embedded: list[str] = []
    for file in _files(survey):
        _read(file, reading, embedded)
    if embedded and not reading.found:
        text = (
            "{path}: the images are missing, but lie in the json files (imageData of {file}): write each to the file "
            "of its imagePath first, as `labelme_export_json` does"
        )
        raise Refusal(message("data.refuse.labelme_embedded", text, path=survey.path, file=embedded[0]))
    alone = len(survey.images) - len(reading.found)
    if alone > 0:
        reading.notes.append(
            message("data.note.images_json_file_read", "{alone} images have no json file and are not read", alone=alone)
        )
    return reading.finish(wanted_task(survey.path, task, masks=reading.has_shapes))


def _files(survey: Survey) -> list[File]:
    """LabelMe's json files, and those beside them that are named like an image and cannot be recognised."""
    found = survey.json_kinds.get("labelme", [])
    folders = {file.folder for file in found}
    cut = [
        file for kind in ("broken", "other", "list") for file in survey.json_kinds.get(kind, [])
        if file.folder in folders and normal(file.stem) in survey.image_stems
    ]  # fmt: skip
    return sorted([*found, *cut], key=lambda file: file.parts)


def _read(file: File, reading: Reading, embedded: list[str]) -> None:
    """Add the image of one file. embedded: gets the files whose image is missing, but inside of them."""
    try:
        content = read_json(file.path, file.relative)
    except Refusal as error:
        reading.skip(file.relative, str(error))
        return
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        reading.skip(
            file.relative,
            message("data.problem.labelme_json_list_shapes", "is no LabelMe json: it has no list of shapes"),
        )
        return
    name = content.get("imagePath")
    own = name if isinstance(name, str) and name else file.stem
    split = split_of_path(file.folder)
    named, beside = (reading.index.find(one, file.folder, split) for one in (own, file.stem))
    if isinstance(named, str) and not isinstance(beside, str):
        own = file.stem  # the image was renamed: use the name of the json file
    one = reading.own_image(own, file.relative, near=file.folder, split=split, size=_size(content))
    if one is None:
        if content.get("imageData"):
            embedded.append(file.relative)
        return
    groups: dict[Any, list[np.ndarray | Raster]] = {}
    for i, shape in enumerate(content["shapes"], 1):
        where = f"{file.relative} shape {i}"
        try:
            if isinstance(shape, dict) and shape.get("shape_type") in NO_AREA and not _is_outline(shape, reading):
                reading.leave_out(str(shape["shape_type"]), one)
                continue
            label, part = _shape(shape)
        except ValueError as error:
            reading.skip(where, str(error))
            continue
        if label == IGNORED:
            reading.left_out[f"called {IGNORED}"] += 1
            continue
        group = shape.get("group_id")
        key = (label, i) if group is None else (label, "group", str(group), isinstance(part, Raster))
        groups.setdefault(key, []).append(part)
    for i, ((label, *_), parts) in enumerate(groups.items(), 1):
        reading.entries += 1
        try:
            box, outline = _joined(parts)
        except ValueError as error:
            reading.skip(f"{file.relative} object {i}", str(error))
            continue
        reading.add(one, f"shape {i}", label, box, outline)


def _joined(parts: Sequence[np.ndarray | Raster]) -> tuple[Box, Shape]:
    """Box and outline of an object of several polygons, or of several masks."""
    masks = [part for part in parts if isinstance(part, Raster)]
    if masks:
        return joined(masks)
    outline = Polygons(tuple(part for part in parts if not isinstance(part, Raster)))
    return box_of(outline), outline


def _is_outline(shape: dict[str, Any], reading: Reading) -> bool:
    """Return whether a line ends where it begins. Raises ValueError."""
    return shape["shape_type"] == "linestrip" and reading.is_outline(corners(shape.get("points")))


def _shape(shape: Any) -> tuple[str, np.ndarray | Raster]:
    """Read label and polygon (K, 2), or mask, of one shape. Raises ValueError."""
    if not isinstance(shape, dict):
        raise ValueError("is not a shape")
    label = str(shape.get("label") or "").strip()
    if not label:
        raise ValueError("has no label")
    points = corners(shape.get("points"))
    kind = shape.get("shape_type") or "polygon"
    if kind == "circle" and len(points) == 2:
        return label, ellipse(points[0], math.dist(*points), math.dist(*points))
    if kind == "mask" and len(points) == 2:
        return label, _mask(shape.get("mask"), points)
    if kind == "rectangle" and len(points) == 2:
        return label, rectangle(*points[0], *points[1])
    if len(points) < 3:
        raise ValueError(f"a {kind} of {len(points)} points")
    return label, points


def _mask(content: object, points: np.ndarray) -> Raster:
    """The mask of the pixels between two opposite ones, a PNG file in base64. Raises ValueError."""
    try:
        data = base64.b64decode(content if isinstance(content, str) else "", validate=True)
    except ValueError:
        data = b""
    if not data:
        raise ValueError("a mask without its pixels")
    left, top = (int(value) for value in points.min(axis=0))
    return png_mask(data, left, top)[1]


def rectangle(x1: float, y1: float, x2: float, y2: float) -> np.ndarray:
    """Compute the corners (4, 2) of a box from two opposite ones."""
    (left, right), (top, bottom) = sorted((x1, x2)), sorted((y1, y2))
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


def ellipse(centre: np.ndarray, width: float, height: float) -> np.ndarray:
    """Approximate an ellipse by a polygon (CIRCLE_CORNERS, 2). width, height: half axes."""
    angles = np.linspace(0, 2 * np.pi, CIRCLE_CORNERS, endpoint=False)
    return np.stack([centre[0] + width * np.cos(angles), centre[1] + height * np.sin(angles)], axis=1)


def _size(content: dict[str, Any]) -> tuple[int, int] | None:
    height, width = content.get("imageHeight"), content.get("imageWidth")
    return (height, width) if isinstance(height, int) and isinstance(width, int) and height > 0 < width else None

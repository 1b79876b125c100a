"""Supervisely: a json file per image in ann/, beside the images in img/, and the classes in meta.json.

Rectangles, polygons and bitmaps are objects. Points, lines and other figures are counted.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from pathlib import Path
from typing import Any

from danlu.config import DataConfig
from danlu.data.annotations import Polygons, Shape
from danlu.data.dataset import Dataset
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, as_survey, normal
from danlu.data.files.text_files import read_json
from danlu.data.sources.labelled_images.labelled import wanted_task
from danlu.data.sources.labelled_images.reading import Reading, box_of, corners
from danlu.data.sources.objects.labelme import rectangle
from danlu.data.sources.objects.png_masks import Box, png_mask
from danlu.data.sources.tables.targets import Task
from danlu.data.split_names import split_of_path
from danlu.message import message
from danlu.refuse import Refusal

MAX_BITMAP = 64 << 20  # bytes of an unpacked bitmap file


def look(survey: Survey) -> Evidence | None:
    """Recognise json files with the size of the image and a list of objects."""
    files = survey.json_kinds.get("supervisely")
    if not files:
        return None
    return Evidence(
        Fit.MARKED, message("data.seen.supervisely", "{files} .json files of Supervisely", files=len(files))
    )


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and annotations, with classes sorted by name."""
    survey = as_survey(path)
    reading = Reading(survey, config, "supervisely")
    for file in _files(survey):
        _read(file, reading)
    alone = len(survey.images) - len(reading.found)
    if alone > 0:
        reading.notes.append(
            message("data.note.images_json_file_read", "{alone} images have no json file and are not read", alone=alone)
        )
    return reading.finish(wanted_task(survey.path, task, masks=reading.has_shapes))


def _files(survey: Survey) -> list[File]:
    """The annotation files, and those beside them that are named like an image and cannot be recognised."""
    found = survey.json_kinds.get("supervisely", [])
    folders, names = {file.folder for file in found}, {normal(file.name) for file in survey.images}
    cut = [
        file for kind in ("broken", "other", "list") for file in survey.json_kinds.get(kind, [])
        if file.folder in folders and normal(file.stem) in names
    ]  # fmt: skip
    return sorted([*found, *cut], key=lambda file: file.parts)


def _read(file: File, reading: Reading) -> None:
    try:
        content = read_json(file.path, file.relative)
    except Refusal as error:
        reading.skip(file.relative, str(error))
        return
    if not isinstance(content, dict) or not isinstance(content.get("objects"), list):
        reading.skip(
            file.relative,
            message("data.problem.supervisely_json_list_objects", "is no Supervisely json: it has no list of objects"),
        )
        return
    near = file.folder[:-1] if normal(file.folder[-1] if file.folder else "") == "ann" else file.folder
    split = split_of_path(file.folder)
    one = reading.own_image(file.stem, file.relative, near=near, split=split, size=_size(content.get("size")))
    if one is None:
        return
    for i, figure in enumerate(content["objects"], 1):
        where = f"{file.relative} object {i}"
        kind = str(figure.get("geometryType") or "") if isinstance(figure, dict) else ""
        if kind not in ("rectangle", "polygon", "bitmap"):
            if kind:
                reading.leave_out(kind, one)
            else:
                reading.skip(where, message("data.problem.figure_geometrytype", "is no figure with a geometryType"))
            continue
        try:
            box, shape = _shape(figure, kind)
        except ValueError as error:
            reading.skip(where, str(error))
            continue
        label = str(figure.get("classTitle") or "").strip()
        reading.entries += 1
        reading.add(one, f"object {i}", label, box, shape, fault="" if label else "no label")


def _shape(figure: dict[str, Any], kind: str) -> tuple[Box, Shape]:
    """Box and outline of a figure. Raises ValueError."""
    if kind == "bitmap":
        return _bitmap(figure.get("bitmap"))
    points = figure.get("points")
    ring = corners(points.get("exterior") if isinstance(points, dict) else None)
    if kind == "rectangle" and len(ring) == 2:
        ring = rectangle(*ring[0], *ring[1])
    if len(ring) < 3:
        raise ValueError(f"a {kind} of {len(ring)} points")
    outline = Polygons((ring,))
    return box_of(outline), outline


def _bitmap(content: object) -> tuple[Box, Shape]:
    """A mask as a PNG file, compressed by zlib, in base64; its non-zero pixels, or opaque ones, are the object."""
    if not isinstance(content, dict):
        raise ValueError("has no bitmap")
    try:
        left, top = (int(value) for value in content["origin"])
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(content["data"], validate=True), MAX_BITMAP)
    except (KeyError, TypeError, ValueError, binascii.Error, zlib.error):
        raise ValueError("a bitmap that cannot be decoded") from None
    if unpacker.unconsumed_tail:
        raise ValueError("a bitmap that unpacks to more than a mask has")
    return png_mask(data, left, top)


def _size(given: object) -> tuple[int, int] | None:
    height, width = (given.get("height"), given.get("width")) if isinstance(given, dict) else (None, None)
    return (height, width) if isinstance(height, int) and isinstance(width, int) and height > 0 < width else None

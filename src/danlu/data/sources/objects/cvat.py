"""CVAT for images 1.1: one xml file with boxes, polygons and masks of every image."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from danlu.config import DataConfig
from danlu.data.annotations import MAX_MASK_PIXELS, Polygons, Raster, Shape
from danlu.data.dataset import UNASSIGNED, Dataset
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, as_survey
from danlu.data.files.text_files import read_bytes
from danlu.data.files.unpacking import parse_xml
from danlu.data.sources.labelled_images.labelled import wanted_task
from danlu.data.sources.labelled_images.reading import Reading, box_of
from danlu.data.sources.objects.labelme import ellipse, rectangle
from danlu.data.sources.tables.targets import Task
from danlu.data.split_names import split_of, split_of_path
from danlu.message import message
from danlu.refuse import Refusal, blame

SHAPES = (b"<box", b"<polygon", b"<ellipse", b"<mask", b"<polyline", b"<points", b"<skeleton", b"<cuboid")
NO_AREA = ("points", "polyline", "tag", "skeleton", "cuboid")


def look(survey: Survey) -> Evidence | None:
    """Recognise an xml file with the element <annotations>."""
    files = xml_files(survey)
    if not files or has_only_tags(survey):
        return None
    seen = message("data.seen.cvat", "{file} has CVAT's element <annotations>", file=files[0].relative)
    if all(b"<track" in survey.head(file) and b"<image " not in survey.head(file) for file in files):
        why = message(
            "data.refuse.cvat_video", "{file} holds tracks of a video (CVAT for video): export it as CVAT for images",
            file=files[0].relative,
        )  # fmt: skip
        return Evidence(Fit.MARKED, seen, why)
    return Evidence(Fit.MARKED, seen)


def has_only_tags(survey: Survey) -> bool:
    """Return whether the files label whole images by tags, and no file has a shape."""
    if "cvat tags" not in survey.memo:
        files = xml_files(survey)
        tagged = any(b"<tag" in survey.head(file) for file in files)
        survey.memo["cvat tags"] = tagged and not any(map(_has_shapes, files))
    return survey.memo["cvat tags"]


def _has_shapes(file: File) -> bool:
    """Return whether a file has a shape, or cannot be read, so that its reader names the fault."""
    try:
        content = read_bytes(file.path)
    except OSError:
        return True
    return any(mark in content for mark in SHAPES)


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and annotations, with classes sorted by name; a rotated box becomes its bounding box."""
    survey = as_survey(path)
    reading = Reading(survey, config, "cvat")
    rotated = sum(_read(file, reading) for file in xml_files(survey))
    if rotated:
        reading.notes.append(
            message(
                "data.note.rotated_boxes_read_boxes",
                "{rotated} rotated boxes are read as the boxes around them",
                rotated=rotated,
            )
        )
    return reading.finish(wanted_task(survey.path, task, masks=reading.has_shapes))


def xml_files(survey: Survey) -> list[File]:
    """Xml files of CVAT."""
    found = [file for file in survey.of(".xml") if survey.xml_root(file) == "annotations"]
    return [file for file in found if any(mark in survey.head(file) for mark in (b"<image ", b"<track ", b"<meta>"))]


def images_of(file: File) -> Iterator[ElementTree.Element]:
    """The elements of the images of a file. Raises Refusal if it cannot be read."""
    try:
        tree = parse_xml(read_bytes(file.path))
    except OSError as error:
        raise blame(error, str(file.path)) from None
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise Refusal(
            message(
                "data.refuse.valid_xml_truncated_damaged",
                "{path} is not valid xml ({error}): it is truncated or damaged; export it again",
                path=file.path,
                error=str(error),
            )
        ) from None
    return tree.iter("image")


def split_of_image(image: ElementTree.Element, file: File) -> int:
    """The split of an image by its subset, else by the name or the folder of the file."""
    found = (split_of(image.get("subset", "")), split_of(file.stem), split_of_path(file.folder))
    return next((split for split in found if split != UNASSIGNED), UNASSIGNED)


def _read(file: File, reading: Reading) -> int:
    """Add the images of a file; returns the number of rotated boxes."""
    rotated = 0
    for entry in images_of(file):
        name = entry.get("name", "")
        where = f"{file.relative} image {entry.get('id', '')}"
        split = split_of_image(entry, file)
        one = reading.image(name, where, near=file.folder, split=split, size=_size(entry), source=file.relative)
        for i, shape in enumerate(entry if one is not None else (), 1):
            assert one is not None
            label = (shape.get("label") or "").strip()
            try:
                if shape.tag == "tag":  # of the image
                    reading.left_out[shape.tag] += 1
                    continue
                if shape.tag in NO_AREA and not _is_outline(shape, reading):
                    reading.leave_out(shape.tag, one)
                    continue
                outline, box = _shape(shape)
            except (ValueError, KeyError, TypeError) as error:
                reading.skip(
                    f"{where} {shape.tag} {i}",
                    message("data.problem.cannot_read", "cannot be read: {error}", error=error),
                )
                continue
            rotated += shape.tag == "box" and float(shape.get("rotation", 0)) != 0
            reading.entries += 1
            reading.add(one, f"{shape.tag} {i}", label, box, outline, fault="" if label else "no label")
    return rotated


def _is_outline(shape: ElementTree.Element, reading: Reading) -> bool:
    """Return whether a line ends where it begins. Raises ValueError or KeyError."""
    return shape.tag == "polyline" and reading.is_outline(_ring(shape.attrib["points"]))


def _shape(shape: ElementTree.Element) -> tuple[Shape | None, tuple[float, float, float, float]]:
    """Read (outline, box) of a shape. Raises ValueError or KeyError."""
    if shape.tag == "box":
        x1, y1, x2, y2 = (float(shape.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        angle = math.radians(float(shape.get("rotation", 0)))
        if not angle:
            return None, (x1, y1, x2, y2)
        ring = _rotated(rectangle(x1, y1, x2, y2), angle)
        return Polygons((ring,)), box_of(Polygons((ring,)))
    if shape.tag in ("polygon", "polyline"):
        outline = Polygons((_ring(shape.attrib["points"]),))
        return outline, box_of(outline)
    if shape.tag == "ellipse":
        centre = np.array([float(shape.attrib["cx"]), float(shape.attrib["cy"])])
        outline = Polygons((ellipse(centre, float(shape.attrib["rx"]), float(shape.attrib["ry"])),))
        return outline, box_of(outline)
    if shape.tag == "mask":
        left, top, width, height = (int(shape.attrib[key]) for key in ("left", "top", "width", "height"))
        counts = [int(v) for v in shape.attrib["rle"].split(",")]  # along rows, zeros first
        if width * height > MAX_MASK_PIXELS:
            raise ValueError(f"too many pixels for a mask ({width} x {height})")
        if sum(counts) != width * height:
            raise ValueError("run lengths that do not fill the mask")
        pixels = np.repeat(np.arange(len(counts)) % 2, counts).astype(np.uint8).reshape(height, width)
        return Raster(pixels, left, top), (left, top, left + width, top + height)
    raise ValueError(f"unknown shape {shape.tag}")


def _ring(points: str) -> np.ndarray:
    """Corners of a polygon "x,y;x,y;...", float64 (K, 2). Raises ValueError."""
    commas, semicolons = points.count(","), points.count(";")
    if commas != semicolons + 1:
        raise ValueError("points that are not pairs of numbers")
    return np.array(points.replace(";", ",").split(","), np.float64).reshape(-1, 2)


def _rotated(ring: np.ndarray, angle: float) -> np.ndarray:
    """Rotate a polygon (K, 2) clockwise about its centre."""
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    middle = ring.mean(axis=0)
    return (ring - middle) @ turn + middle


def _size(entry: ElementTree.Element) -> tuple[int, int] | None:
    try:
        return int(entry.attrib["height"]), int(entry.attrib["width"])
    except (KeyError, ValueError):
        return None

"""Label Studio's json: tasks with rectangles and polygons in percent of the image."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from danlu.config import DataConfig
from danlu.data.annotations import Polygons
from danlu.data.dataset import Dataset
from danlu.data.evidence import Evidence, Fit
from danlu.data.image_index import name_parts
from danlu.data.sources.labelled import Labelled, wanted_task
from danlu.data.sources.labelme import rectangle
from danlu.data.sources.reading import Reading, box_of, corners
from danlu.data.sources.targets import Task
from danlu.data.survey import Survey, as_survey
from danlu.data.text_files import read_json
from danlu.message import message

HASH = re.compile(r"^[0-9a-f]{8}-")  # prefix of the names of uploaded files
KINDS = ("rectanglelabels", "polygonlabels")


def look(survey: Survey) -> Evidence | None:
    """Recognise json lists of tasks with data and annotations."""
    files = survey.json_kinds.get("label studio")
    if not files:
        return None
    return Evidence(
        Fit.MARKED, message("data.seen.label_studio", "{file} is Label Studio's json", file=files[0].relative)
    )


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and the last annotation of each task, with classes sorted by name."""
    survey = as_survey(path)
    reading = Reading(survey, config, "label studio")
    unlabelled = several = 0
    for file in survey.json_of("label studio"):
        for k, entry in enumerate(read_json(file.path, str(file.path))):
            where = (
                f"{file.relative} task {entry.get('id', k)}" if isinstance(entry, dict) else f"{file.relative} [{k}]"
            )
            done = [one for one in _list(entry, "annotations") + _list(entry, "completions")
                    if not one.get("was_cancelled")]  # fmt: skip
            if not done:
                unlabelled += 1
                continue
            several += len(done) > 1
            one = reading.image(_image_name(entry, reading), where, near=file.folder, fractions=True)
            if one is not None:
                _add(one, _list(done[-1], "result"), where, reading)
    if unlabelled:
        reading.notes.append(f"{unlabelled} tasks have no annotation and are not read")
    if several:
        reading.notes.append(f"{several} tasks have several annotations: the last of each is read")
    return reading.finish(wanted_task(survey.path, task, masks=reading.has_shapes))


def _list(entry: Any, key: str) -> list[dict[str, Any]]:
    found = entry.get(key) if isinstance(entry, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _image_name(entry: dict[str, Any], reading: Reading) -> str:
    data = entry.get("data")
    values = [str(value) for value in data.values() if isinstance(value, str)] if isinstance(data, dict) else []
    name = str(data.get("image") or data.get("img") or next(iter(values), "")) if isinstance(data, dict) else ""
    parts = name_parts(name)
    if parts and HASH.match(parts[-1]) and isinstance(reading.index.find(name), str):
        return HASH.sub("", parts[-1])
    return name


def _add(one: Labelled, results: list[dict[str, Any]], where: str, reading: Reading) -> None:
    for i, result in enumerate(results, 1):
        kind = str(result.get("type", ""))
        if kind not in KINDS:
            continue
        value = result.get("value") or {}
        try:
            label = str(value[kind][0]).strip()
            ring = corners(value["points"]) if kind == "polygonlabels" else _rectangle(value, result)
        except (KeyError, IndexError, TypeError, ValueError):
            reading.skip(f"{where} result {i}", "must have a label and numbers in percent of the image")
            continue
        reading.entries += 1
        outline = Polygons((ring / 100,))
        shape = outline if kind == "polygonlabels" or value.get("rotation") else None
        reading.add(one, f"result {i}", label, box_of(outline), shape)


def _rectangle(value: dict[str, Any], result: dict[str, Any]) -> np.ndarray:
    """Compute the corners in percent. rotation: degrees about the upper left corner, in pixels of the image."""
    x, y, width, height = (float(value[key]) for key in ("x", "y", "width", "height"))
    angle = math.radians(float(value.get("rotation") or 0))
    if not angle:
        return rectangle(x, y, x + width, y + height)
    scale = np.array([float(result["original_width"]), float(result["original_height"])])
    ring = rectangle(0, 0, width, height) * scale
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return ring @ turn / scale + (x, y)

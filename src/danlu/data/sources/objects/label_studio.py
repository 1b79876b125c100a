"""Label Studio's json, JSON-MIN and csv: tasks with shapes in percent of the image, or with choices."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from danlu.config import DataConfig
from danlu.data.annotations import Polygons
from danlu.data.dataset import Dataset
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, as_survey, surroundings
from danlu.data.files.text_files import read_json, read_text
from danlu.data.image_index import ImageIndex, name_parts
from danlu.data.sources.labelled_images.labelled import Labelled, wanted_task
from danlu.data.sources.labelled_images.reading import Reading, box_of, corners
from danlu.data.sources.objects.labelme import ellipse, rectangle
from danlu.data.sources.tables.label_entries import open_entries
from danlu.data.sources.tables.label_values import Entry
from danlu.data.sources.tables.targets import Task
from danlu.message import message
from danlu.refuse import Refusal
from danlu.task_spec import TASKS

HASH = re.compile(r"^[0-9a-f]{8}-")  # prefix of the names of uploaded files
KINDS = ("rectanglelabels", "polygonlabels", "ellipselabels")
CHOICES = "choices"  # labels of the image
SIZE_KEYS = ("original_width", "original_height")
OWN_KEYS = {"image", "img", "id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time"}  # of JSON-MIN


def look(survey: Survey) -> Evidence | None:
    """Recognise Label Studio's json, JSON-MIN or csv of tasks with rectangles or polygons."""
    found = _look(survey, lambda kinds: bool(kinds & set(KINDS)) or kinds != {CHOICES})
    kinds = {kind for file in _files(survey)[:8] for kind in _kinds(file)} if found is not None else set()
    if found is None or not kinds or kinds & set(KINDS):
        return found
    why = message(
        "data.refuse.label_studio_kinds", "{file} holds {kinds}, which are not read; {known} are",
        file=_files(survey)[0].relative, kinds=sorted(kinds), known=[*KINDS, CHOICES],
    )  # fmt: skip
    return replace(found, refuse=why)


def look_choices(survey: Survey) -> Evidence | None:
    """As `look`, for tasks with choices (labels of the image) only."""
    return _look(survey, lambda kinds: kinds == {CHOICES})


def _look(survey: Survey, wanted: Callable[[set[str]], bool]) -> Evidence | None:
    files = _files(survey)
    if not files or not wanted({kind for file in files[:8] for kind in _kinds(file)}):
        return None
    return Evidence(
        Fit.MARKED, message("data.seen.label_studio", "{file} is Label Studio's export", file=files[0].relative)
    )


def _files(survey: Survey) -> list[File]:
    """Json files; where there are none, csv files."""
    return survey.json_kinds.get("label studio") or [
        file for file in survey.of(".csv") if {"annotation_id", "annotator"} <= set(_header(survey, file))
    ]


def _header(survey: Survey, file: File) -> list[str]:
    return [name.strip(' "') for name in next(iter(survey.lines(file)), "").split(",")]


def _kinds(file: File) -> set[str]:
    """Kinds of the results in a file: rectanglelabels, polygonlabels, choices, ..."""
    try:
        tasks = _tasks(file)
    except (Refusal, OSError, UnicodeDecodeError):
        return set()  # the reader names the fault
    return {str(result.get("type")) for task in tasks for result in task.results or ()}


class _LabelTask(NamedTuple):
    """One task. results: of its last annotation, None without one. several: it has several annotations."""

    where: str
    image: str
    results: list[dict[str, Any]] | None
    several: bool


def _tasks(file: File) -> list[_LabelTask]:
    """Tasks of a file in any of the forms: json, JSON-MIN (one object per task), or csv with json in its cells."""
    if file.suffix == ".csv":
        rows: Any = list(csv.DictReader(io.StringIO(read_text(file.path))))
    else:
        rows = read_json(file.path, str(file.path))
    found = []
    for k, row in enumerate(rows if isinstance(rows, list) else ()):
        where = f"{file.relative} task {row.get('id', k)}" if isinstance(row, dict) else f"{file.relative} [{k}]"
        if isinstance(row, dict) and "data" not in row:
            name = str(row.get("image") or row.get("img") or "")
            results = _flat_results(row)
            found.append(_LabelTask(where, name, results or None, False))
            continue
        done = [one for one in _list(row, "annotations") + _list(row, "completions") if not one.get("was_cancelled")]
        results = _list(done[-1], "result") if done else None
        found.append(_LabelTask(where, _image_name(row), results, len(done) > 1))
    return found


def _flat_results(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The results in the values of a task in JSON-MIN or csv, each in the form of the full json."""
    found: list[dict[str, Any]] = []
    for key, value in row.items():
        if key in OWN_KEYS:
            continue
        if isinstance(value, str) and value[:1] in "[{":
            with contextlib.suppress(ValueError, RecursionError):
                value = json.loads(value)  # noqa: PLW2901
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str) and one.strip():
                found.append({"type": CHOICES, "value": {CHOICES: [one]}})
            elif isinstance(one, dict):
                kind = next((name for name in (*KINDS, CHOICES) if name in one), "")
                found.append({"type": kind, "value": one, **{name: one[name] for name in SIZE_KEYS if name in one}})
    return found


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and the last annotation of each task, with classes sorted by name."""
    survey = as_survey(path)
    reading = Reading(survey, config, "label studio")
    tasks = [(file, one) for file in _all_files(survey) for one in _tasks(file)]
    for file, one in tasks:
        if one.results is None:
            continue
        name = _known_name(one.image, reading.index)
        image = reading.image(name, one.where, near=file.folder, fractions=True)
        if image is not None:
            _add(image, one.results, one.where, reading)
    if all(one.results is None for _, one in tasks):
        text = "{path}: none of its {tasks} tasks has an annotation; predictions are not read"
        raise Refusal(message("data.refuse.tasks_without_annotation", text, path=survey.path, tasks=len(tasks)))
    reading.notes += _remarks([one for _, one in tasks])
    return reading.finish(wanted_task(survey.path, task, masks=reading.has_shapes))


def open_choices(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and the choices of the last annotation of each task."""
    survey = as_survey(path)
    index = ImageIndex.of(surroundings(survey))
    tasks = [(file, one) for file in _all_files(survey) for one in _tasks(file)]
    entries = [
        Entry(_known_name(one.image, index), one.where, file.folder, _choices(one.results))
        for file, one in tasks
        if one.results is not None
    ]
    several = any(len(one.labels) != 1 for one in entries) if task is None else TASKS[task].several_labels
    notes = _remarks([one for _, one in tasks])
    return open_entries(survey, "label studio choices", entries, several, config, task, notes)


def _all_files(survey: Survey) -> list[File]:
    return sorted({*_files(survey), *survey.cut_json}, key=lambda file: file.parts)


def _choices(results: list[dict[str, Any]]) -> tuple[str, ...]:
    values = [result.get("value") or {} for result in results if result.get("type") == CHOICES]
    return tuple(dict.fromkeys(str(label).strip() for value in values for label in value.get(CHOICES) or ()))


def _remarks(tasks: Sequence[_LabelTask]) -> list[str]:
    notes = []
    if unlabelled := sum(one.results is None for one in tasks):
        notes.append(
            message(
                "data.note.tasks_annotation_read",
                "{unlabelled} tasks have no annotation and are not read",
                unlabelled=unlabelled,
            )
        )
    if several := sum(one.several for one in tasks):
        notes.append(
            message(
                "data.note.tasks_several_annotations_last",
                "{several} tasks have several annotations: the last of each is read",
                several=several,
            )
        )
    read = {*KINDS, CHOICES}
    others = Counter(str(r.get("type")) for one in tasks for r in one.results or () if r.get("type") not in read)
    if others:
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
        notes.append(
            message("data.note.results_kinds_read", "results of these kinds are not read: {listed}", listed=listed)
        )
    return notes


def _list(entry: Any, key: str) -> list[dict[str, Any]]:
    found = entry.get(key) if isinstance(entry, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _image_name(entry: Any) -> str:
    data = entry.get("data") if isinstance(entry, dict) else None
    if not isinstance(data, dict):
        return ""
    values = [str(value) for value in data.values() if isinstance(value, str)]
    return str(data.get("image") or data.get("img") or next(iter(values), ""))


def _known_name(name: str, index: ImageIndex) -> str:
    """The name of an image without the prefix of uploaded files, where only that is known."""
    parts = name_parts(name)
    if parts and HASH.match(parts[-1]) and isinstance(index.find(name), str):
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
            ring = _ring(kind, value, result)
        except (KeyError, IndexError, TypeError, ValueError):
            reading.skip(
                f"{where} result {i}",
                message(
                    "data.problem.must_label_numbers_percent", "must have a label and numbers in percent of the image"
                ),
            )
            continue
        reading.entries += 1
        outline = Polygons((ring / 100,))
        shape = outline if kind != "rectanglelabels" or value.get("rotation") else None
        reading.add(one, f"result {i}", label, box_of(outline), shape)


def _ring(kind: str, value: dict[str, Any], result: dict[str, Any]) -> np.ndarray:
    """The outline (K, 2) of a shape, in percent. Raises KeyError, TypeError or ValueError."""
    if kind == "polygonlabels":
        return corners(value["points"])
    if kind == "rectanglelabels":
        return _rectangle(value, result)
    x, y, wide, tall = (float(value[key]) for key in ("x", "y", "radiusX", "radiusY"))
    whole = ellipse(np.array([x, y]), wide, tall)
    return _turned(whole, (x, y), value, result) if value.get("rotation") else whole


def _rectangle(value: dict[str, Any], result: dict[str, Any]) -> np.ndarray:
    """Compute the corners in percent, turned about the upper left one."""
    x, y, width, height = (float(value[key]) for key in ("x", "y", "width", "height"))
    whole = rectangle(x, y, x + width, y + height)
    return _turned(whole, (x, y), value, result) if value.get("rotation") else whole


def _turned(ring: np.ndarray, about: tuple[float, float], value: dict[str, Any], result: dict[str, Any]) -> np.ndarray:
    """Turn an outline in percent by `rotation` degrees, in pixels of the image."""
    angle = math.radians(float(value["rotation"]))
    scale = np.array([float(result["original_width"]), float(result["original_height"])])
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return ((ring - about) * scale) @ turn / scale + about

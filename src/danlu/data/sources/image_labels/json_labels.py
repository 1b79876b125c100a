"""Labels of images in json: lines of metadata.jsonl (Hugging Face image folders), a list of rows, or a map by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from danlu.config import DataConfig
from danlu.data.dataset import UNASSIGNED, Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.image_file import IMAGE_SUFFIXES
from danlu.data.files.survey import File, Survey, as_survey, normal, surroundings
from danlu.data.files.text_files import read_json, read_lines
from danlu.data.sources.image_labels.arrow_tables import BOX_KEYS, CATEGORY_KEYS
from danlu.data.sources.labelled_images.labelled import wanted_task
from danlu.data.sources.labelled_images.reading import Reading
from danlu.data.sources.tables.label_columns import CLASS_COLUMNS
from danlu.data.sources.tables.label_entries import open_entries
from danlu.data.sources.tables.label_values import Entry
from danlu.data.sources.tables.targets import Task
from danlu.data.split_names import split_of, split_of_path
from danlu.message import message
from danlu.refuse import Refusal, refusal
from danlu.task_spec import TASKS

LINES = (".jsonl", ".ndjson")
FILE_KEYS = ("file_name", "filename", "image", "image_path", "img", "path", "file", "image_url")
LABEL_KEYS = (*(key for key in CLASS_COLUMNS if key not in ("name", "object", "y")), "annotation")
OBJECTS = "objects"
MAX_BYTES = 64 << 20  # larger json files hold more than labels
MAX_LOOKED = 200  # rows whose images are looked for


class _Row(NamedTuple):
    """One image. values: of a row with keys; or {"label": ...} of a map by name."""

    where: str
    name: str
    values: dict[str, Any]


class _Lines(NamedTuple):
    """Rows of one file, and lines that are no json. is_map: from the names of images to labels."""

    file: File
    rows: list[_Row]
    bad: list[Problem]
    is_map: bool = False

    @property
    def split(self) -> int:
        own = split_of(self.file.stem)
        return own if own != UNASSIGNED else split_of_path(self.file.folder)


def look_labels(survey: Survey) -> Evidence | None:
    """Recognise json that gives images a label."""
    return _look(survey, boxes=False)


def look_boxes(survey: Survey) -> Evidence | None:
    """Recognise lines of json that give images a dict of boxes and categories."""
    return _look(survey, boxes=True)


def _look(survey: Survey, boxes: bool) -> Evidence | None:
    found = _files(survey)
    if not found or any(OBJECTS in row.values for one in found for row in one.rows) != boxes:
        return None
    seen = message("data.seen.json_labels", "{file} gives {what} of images", file=found[0].file.relative,
                   what="boxes" if boxes else "labels")  # fmt: skip
    return Evidence(Fit.MARKED if survey.is_file else Fit.CONVERTED, seen)


def open_labels(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and labels: text, numbers, or lists of them."""
    survey = as_survey(path)
    found = _files(survey, config.target) or _files(survey)
    key = _label_key(found, config)
    entries = []
    for one in found:
        for row in one.rows:
            labels = _labels(row.values.get(key))
            entries.append(Entry(row.name, row.where, one.file.folder, labels, one.split))
    lists = any(isinstance(row.values.get(key), list) for one in found for row in one.rows)
    several = lists if task is None else TASKS[task].several_labels
    bad = [problem for one in found for problem in one.bad]
    column = "" if all(one.is_map for one in found) else key
    return open_entries(survey, "json labels", entries, several, config, task, [], bad, column=column)


def open_boxes(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and boxes x, y, width, height."""
    survey = as_survey(path)
    wanted = wanted_task(survey.path, task, masks=False)
    reading = Reading(survey, config, "json boxes")
    reading.box_form = "sized"
    for one in _files(survey):
        for problem in one.bad:
            reading.skip(problem.where, problem.reason)
        for row in one.rows:
            image = reading.image(row.name, row.where, near=one.file.folder, split=one.split)
            for i, (box, label) in enumerate(objects_of(row.values.get(OBJECTS)) if image is not None else (), 1):
                assert image is not None
                if not isinstance(box, list) or len(box) != 4 or not all(isinstance(v, int | float) for v in box):
                    reading.skip(
                        f"{row.where} object {i}",
                        message("data.problem.no_box_of_four", "has no box of four numbers"),
                    )
                    continue
                reading.entries += 1
                x, y, width, height = map(float, box)
                reading.add(image, f"object {i}", next(iter(_labels(label)), ""), (x, y, x + width, y + height))
    return reading.finish(wanted)


def names_target(survey: Survey, target: str) -> bool:
    """Return whether `target` is the key of a label in json of images that are there."""
    return bool(_files(survey, target))


def _files(survey: Survey, target: str | None = None) -> list[_Lines]:
    """Files with rows of images that are there. target: the key of their label, by default a usual one."""
    memo = f"json labels {target}"
    if memo not in survey.memo:
        files = [*survey.of(*LINES), *survey.json_kinds.get("other", ()), *survey.json_kinds.get("list", ())]
        stems = surroundings(survey).image_stems if files else {}
        found = [one for file in files if _small(file) and (one := _read(file, target)) is not None]
        good = [one.file for one in found if _are_there(one, stems)]
        forms = {file.suffix for file in good} & set(LINES)  # of another split, whose images may be missing
        survey.memo[memo] = [one for one in found if one.file in good or one.file.suffix in forms]
    return survey.memo[memo]


def _small(file: File) -> bool:
    try:
        return file.path.stat().st_size <= MAX_BYTES
    except OSError:
        return False


def _are_there(one: _Lines, stems: dict[str, list[File]]) -> bool:
    looked = one.rows[:MAX_LOOKED]
    there = [normal(Path(row.name.replace("\\", "/")).stem) in stems for row in looked]
    return bool(there) and sum(there) > 0.5 * len(there)


def _read(file: File, target: str | None) -> _Lines | None:
    """Rows of a file; None if it has another content."""
    keys = LABEL_KEYS if target is None else (target, *LABEL_KEYS)
    bad: list[Problem] = []
    is_map = False
    try:
        if file.suffix in LINES:
            values = _values_of_lines(file, read_lines(file.path), bad)
        else:
            content = read_json(file.path, str(file.path))
            is_map = isinstance(content, dict)
            values = iter(_values_of_map(content) if is_map else enumerate(content, 1))
    except (Refusal, OSError, UnicodeDecodeError):
        return None
    rows = []
    word = "line" if file.suffix in LINES else "entry"
    for number, row in values:
        name = (
            next((row[key] for key in FILE_KEYS if isinstance(row.get(key), str)), "") if isinstance(row, dict) else ""
        )
        if not name or not (isinstance(row.get(OBJECTS), dict | list) or any(_labels(row.get(k)) for k in keys)):
            return None
        rows.append(_Row(f"{file.relative} {word} {number}", name, row))
    return _Lines(file, rows, bad, is_map) if rows and len(bad) < len(rows) else None


def _values_of_lines(file: File, lines: list[str], bad: list[Problem]) -> Iterator[tuple[int, Any]]:
    """Number and value of each line, parsed as they are asked for: the first may show that the file is another."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            bad.append(Problem(f"{file.relative} line {number}", message("data.problem.no_json", "no json")))
        else:
            yield number, value


def _values_of_map(content: dict[str, Any]) -> list[tuple[int, Any]]:
    """Rows of a map from the names of images to labels, also to class numbers (FiftyOne); none for other content."""
    names, numbers = content.get("classes"), content.get("labels")
    if isinstance(names, list) and isinstance(numbers, dict) and len(content) == 2:
        known = {k: str(name) for k, name in enumerate(names)}
        return [(i, {"file_name": name, "label": known.get(k, "") if isinstance(k, int) else k})
                for i, (name, k) in enumerate(numbers.items(), 1)]  # fmt: skip
    if not all(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in content):
        return []
    return [(i, {"file_name": name, "label": value}) for i, (name, value) in enumerate(content.items(), 1)]


def _label_key(found: list[_Lines], config: DataConfig) -> str:
    known = dict.fromkeys(key for one in found for row in one.rows for key in row.values)
    if config.target is not None:
        if config.target not in known:
            raise refusal(
                "--target",
                message("data.wanted.key", "a key of {path}", path=found[0].file.path),
                config.target,
                near=list(known),
            )
        return config.target
    return next(key for key in LABEL_KEYS if key in known)


def _labels(value: Any) -> tuple[str, ...]:
    """Labels of a value as text; none of a value that is no text, number, or list of texts and integers."""
    values = value if isinstance(value, list) else [value]
    if any(isinstance(one, dict | list) or (isinstance(one, float) and len(values) > 1) for one in values):
        return ()
    return tuple(dict.fromkeys(str(one).strip() for one in values if one is not None and str(one).strip()))


def objects_of(value: Any) -> list[tuple[Any, Any]]:
    """Pairs of box and category: of a dict of lists, or of a list of dicts."""
    if isinstance(value, list):
        return [(_first(one, BOX_KEYS), _first(one, CATEGORY_KEYS)) for one in value if isinstance(one, dict)]
    boxes, labels = _first(value, BOX_KEYS) or [], _first(value, CATEGORY_KEYS)
    return list(zip(boxes, labels if isinstance(labels, list) else ["object"] * len(boxes)))


def _first(row: Any, keys: tuple[str, ...]) -> Any:
    return next((row[key] for key in keys if isinstance(row, dict) and key in row), None)

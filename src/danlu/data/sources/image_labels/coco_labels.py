"""COCO json of whole images: annotations with a category and without a box (iNaturalist, camera traps)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from danlu.config import DataConfig
from danlu.data.dataset import UNASSIGNED, Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, as_survey
from danlu.data.files.text_files import read_json
from danlu.data.sources.objects.coco_entry import EntryError, id_of, image_name, text_of
from danlu.data.sources.tables.label_entries import open_entries
from danlu.data.sources.tables.label_values import Entry
from danlu.data.sources.tables.targets import Task
from danlu.data.split_names import split_of, split_of_path
from danlu.message import message
from danlu.task_spec import TASKS

FORM = "coco labels"  # also the kind of json file
Id = int | str


def look(survey: Survey) -> Evidence | None:
    """Recognise json files with COCO's keys whose annotations have no boxes; those of boxes are read instead."""
    files = survey.json_kinds.get(FORM, ())
    if not files or survey.json_kinds.get("coco"):
        return None
    seen = message("data.seen.coco_labels", "{file} is COCO json of labels of whole images", file=files[0].relative)
    return Evidence(Fit.MARKED, seen)


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and the categories of each image."""
    survey = as_survey(path)
    entries: list[Entry] = []
    problems: list[Problem] = []
    for file in survey.json_kinds.get(FORM, ()):
        own = split_of(file.stem)
        split = own if own != UNASSIGNED else split_of_path(file.folder)
        entries += _entries(read_json(file.path, file.relative), file, split, problems)
    several = any(len(one.labels) > 1 for one in entries) if task is None else TASKS[task].several_labels
    return open_entries(survey, FORM, entries, several, config, task, [], problems)


def _entries(content: dict[str, Any], file: File, split: int, problems: list[Problem]) -> list[Entry]:
    """An entry for each image of a file. problems: gets what cannot be used."""

    def pairs(key: str, read: Callable[[dict[str, Any], str], tuple[Id, Id]]) -> list[tuple[Id, Id]]:
        found = []
        for i, one in enumerate(content.get(key) or ()):
            try:
                found.append(read(one if isinstance(one, dict) else {}, f"{key}[{i}]"))
            except EntryError as error:
                problems.append(Problem(file.relative, str(error)))
        return found

    names = dict(pairs("categories", lambda one, at: (id_of(one, "id", at), text_of(one, "name", at))))
    labels: dict[Id, list[str]] = {}
    for image, category in pairs(
        "annotations", lambda one, at: (id_of(one, "image_id", at), id_of(one, "category_id", at))
    ):
        if category in names:
            labels.setdefault(image, []).append(str(names[category]))
        else:
            problems.append(
                Problem(
                    f"{file.relative} image {image}",
                    message(
                        "data.problem.unknown_class_category_id",
                        "unknown class: category_id {category}",
                        category=category,
                    ),
                )
            )
    entries = []
    for number, name in pairs("images", lambda one, at: (id_of(one, "id", at), image_name(one, at))):
        own = tuple(dict.fromkeys(labels.pop(number, ())))
        entries.append(Entry(str(name), f"{file.relative} image {number}", file.folder, own, split))
    problems += [
        Problem(
            file.relative, message("data.problem.image_id_unknown", "image_id {number} is of no image", number=number)
        )
        for number in labels
    ]
    return entries

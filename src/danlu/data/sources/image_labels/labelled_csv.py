"""csv files that name images, with the labels of each, or with a column of 0 and 1 per class.

The columns are recognised by their names and values (`sheets.py`); a table without a column of images is `csv.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from danlu.config import DataConfig
from danlu.data.dataset import TRAIN, UNASSIGNED, Dataset, Problem
from danlu.data.files.survey import Survey, as_survey, surroundings
from danlu.data.files.text_files import guessed_note
from danlu.data.sources.tables.class_lists import class_list
from danlu.data.sources.tables.label_entries import open_entries
from danlu.data.sources.tables.label_sets import are_lists, has_shared_words, separator_in, split_labels
from danlu.data.sources.tables.label_values import Entry
from danlu.data.sources.tables.sheet_reading import RAGGED, fold_notes, label_column, of_any_column
from danlu.data.sources.tables.sheets import (
    Sheet,
    is_hot,
    sheets_in,
    sheets_of,
    without_images,
)
from danlu.data.sources.tables.targets import Task
from danlu.data.sources.tables.text_tables import with_decimal_points
from danlu.data.split_lists import partition_lines
from danlu.message import message
from danlu.refuse import NOTHING, refusal
from danlu.task_spec import TASKS, label_task


def open_images(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """`ImageFiles` and the labels of each image; a csv without labels, such as Kaggle's test.csv, is left out."""
    data = as_survey(path)
    others = of_any_column(data) if config.target is not None and not sheets_of(data, "images") else []
    return _open_labels(data, config, task, others[0].kind if others else "images", "csv images")


def open_classes(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """As `open_images`, where each row has a 1 in the columns of its classes."""
    return _open_labels(as_survey(path), config, task, "classes", "csv classes")


def _open_labels(data: Survey, config: DataConfig, task: Task | None, kind: str, form: str) -> Dataset:
    sheets = sheets_of(data, kind)
    if not sheets:
        text = "a table with a column of images and one of labels, or with one of 0 and 1 per class"
        raise refusal(str(data.path), message("data.wanted.table_of_images", text), NOTHING)
    notes = [guessed_note(one.file.relative, one.encoding) for one in sheets if one.encoding]
    read = _hot_columns if kind == "classes" else _label_texts
    notes += fold_notes(sheets)
    notes += _rival_notes(sheets) if config.target is None else []
    several, entries = read(sheets, config.target, task, notes)
    ragged = [Problem(f"{sheet.file.relative} line {line}", RAGGED) for sheet in sheets for line in sheet.ragged]
    unlabelled = [s for s in sheets_in(data) if s.kind == "unlabelled" and not partition_lines(data, s.file)]
    notes += [
        message(
            "data.note.table_without_labels",
            "{file} names images without labels: they are for prediction and not read",
            file=s.file.relative,
        )
        for s in unlabelled
    ]
    lists = all(sheet.file.suffix == ".txt" for sheet in sheets)
    columns = {sheet.header[i] for sheet in sheets for i in sheet.columns}
    around = surroundings(data)
    class_names = class_list(around, {sheet.file.path for sheet in sheets}) if lists else None
    name = "" if kind == "classes" else sheets[0].header[label_column(sheets[0], config.target)]
    dataset = open_entries(around, form, entries, several, config, task, notes, ragged, columns, class_names, name)
    dataset = replace(dataset, problems=[*dataset.problems, *without_images(data, kind)])
    left = {sheet.split for sheet in unlabelled} - {TRAIN, UNASSIGNED}
    return replace(dataset, unlabelled=tuple(sorted({*dataset.unlabelled, *left})))


def _rival_notes(sheets: Sequence[Sheet]) -> list[str]:
    """A note on the columns that are called like labels and are not read."""
    text = "the labels are those of the column {label} of {file}; --target {other} reads others"
    return [
        str(message("data.note.rival_columns", text, label=one.header[one.label], file=one.file.relative,
                    other=one.rivals[0]))
        for one in sheets if one.rivals and one.label is not None
    ]  # fmt: skip


def _entry(sheet: Sheet, row: Sequence[str], line: int, labels: tuple[str, ...]) -> Entry:
    where = f"{sheet.file.relative} line {line}"
    return Entry(row[sheet.image], where, sheet.file.folder, labels, sheet.split_of_row(row))


def _label_texts(
    sheets: Sequence[Sheet], target: str | None, task: Task | None, notes: list[str]
) -> tuple[bool, list[Entry]]:
    """Return whether images have several labels, and the rows of sheets with a column of labels."""
    rows = [(s, row, line, row[label_column(s, target)].strip()) for s in sheets for row, line in zip(s.rows, s.lines)]
    texts = [text for *_, text in rows]
    several = task is not None and TASKS[task].several_labels
    points = None if several else with_decimal_points(texts, sheets[0].separator)
    if points is not None:
        rows = [(sheet, row, line, text) for (sheet, row, line, _), text in zip(rows, points)]
        texts = points
        notes.append(str(message("data.decimal_commas", "the commas of the labels are taken as decimal points")))
    separator = separator_in(texts)
    if task is None and separator is not None:
        columns = {s.header[label_column(s, target)] for s in sheets}
        several = are_lists(texts, separator, columns.pop() if len(columns) == 1 else "")
        example = next(text for text in texts if separator in text)
        if several:
            text = "labels are split at {separator}, as in {example}; --task classify takes each text as one class"
            notes.append(str(message("data.labels_split", text, separator=repr(separator), example=repr(example))))
        elif separator != " " or has_shared_words(texts):
            text = "labels with {separator}, as {example}, are taken as one class each; --task {task} splits them"
            values = {"separator": repr(separator), "example": repr(example), "task": label_task(True)}
            notes.append(str(message("data.labels_whole", text, **values)))
    separator = separator if several else None
    return several, [
        _entry(sheet, row, line, split_labels(text, separator) if several else (text,) * bool(text))
        for sheet, row, line, text in rows
    ]


def _hot_columns(
    sheets: Sequence[Sheet], target: str | None, task: Task | None, notes: list[str]
) -> tuple[bool, list[Entry]]:
    """Return whether images have several labels, and the rows of sheets with a column of 0 and 1 per class."""
    entries = []
    for sheet in sheets:
        for row, line, hot in zip(sheet.rows, sheet.lines, multi_label_targets(sheet)):
            labels = tuple(sheet.header[i] for i, value in zip(sheet.columns, hot) if value)
            entries.append(_entry(sheet, row, line, labels))
    exclusive = all(len(one.labels) == 1 for one in entries)
    several = not exclusive if task is None else TASKS[task].several_labels
    if not several:
        entries = [one if len(one.labels) == 1 else one._replace(labels=()) for one in entries]
    elif all(len(one.labels) <= 1 for one in entries) and task is None:
        count = sum(not one.labels for one in entries)
        text = (
            "{count} {count:image has|images have} no label, so that labels are taken as independent; "
            "--task classify skips those"
        )
        notes.append(str(message("data.labels_missing", text, count=count)))
    return several, entries


def multi_label_targets(sheet: Sheet) -> np.ndarray:
    """float32 (N, K) of 0 and 1: the labels of each row of a sheet with a column per class."""
    return np.array([[is_hot(row[i]) for i in sheet.columns] for row in sheet.rows], np.float32)

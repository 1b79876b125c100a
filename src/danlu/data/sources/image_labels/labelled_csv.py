"""csv files that name images: boxes (one row per object), labels per image, or a column per class.

The columns are recognised by their names and values (`sheets.py`); a table without a column of images is `csv.py`'s.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from danlu.config import DataConfig
from danlu.data.dataset import TRAIN, UNASSIGNED, Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import Survey, as_survey, surroundings
from danlu.data.files.text_files import guessed_note, read_text
from danlu.data.image_index import AMBIGUOUS, OUTSIDE, ImageIndex
from danlu.data.sources.folders.class_layout import class_layout
from danlu.data.sources.labelled_images.labelled import wanted_task
from danlu.data.sources.labelled_images.reading import Reading, box_of
from danlu.data.sources.tables.class_lists import class_list
from danlu.data.sources.tables.label_entries import open_entries
from danlu.data.sources.tables.label_sets import are_lists, has_shared_words, separator_in, split_labels
from danlu.data.sources.tables.label_values import Entry
from danlu.data.sources.tables.outline_columns import outline_of
from danlu.data.sources.tables.sheet_boxes import box_of_row, has_fractions, size_of
from danlu.data.sources.tables.sheets import (
    Sheet,
    is_hot,
    names_images,
    sheets_in,
    sheets_of,
    without_images,
)
from danlu.data.sources.tables.split_columns import fold_column, numbered_splits
from danlu.data.sources.tables.targets import Task
from danlu.data.sources.tables.text_tables import with_decimal_points
from danlu.message import Message, message
from danlu.refuse import NOTHING, refusal
from danlu.task_spec import TASKS, label_task

CLASS_DESCRIPTIONS = ("class-descriptions", "oidv7-class-descriptions")  # of Open Images, as FiftyOne's classes.csv
MAX_LABEL_COLUMNS = 3  # columns of a csv of images and labels, which holds nothing to learn from without the images


def look_boxes(data: Survey) -> Evidence | None:
    """csv files with a column of images and the columns of a box."""
    return _look(data, "boxes", Fit.CONVERTED)


def look_images(data: Survey) -> Evidence | None:
    """csv files with a column of images and one of labels."""
    if unread := sheets_of(data, "unread"):
        why = message(
            "data.refuse.csv_unread",
            "{file} names images and has columns of boxes ({columns}) in an unknown form: call them xmin, ymin, xmax, "
            "ymax, or x, y, width, height; where one is the label or number of an image, use --target COLUMN",
            **_names_of(unread[0]),
        )  # fmt: skip
        return _undecided(data, unread[0], why, Fit.CONVERTED)
    if (runs := sheets_of(data, "runs")) and not runs[0].found and not sheets_of(data, "images"):
        why = message(
            "data.refuse.csv_runs",
            "{file} holds run lengths of masks ({columns}), but none of its images ({name}) lies beside it or below",
            **_names_of(runs[0]), name=runs[0].rows[0][runs[0].image] if runs[0].rows else "",
        )  # fmt: skip
        return _undecided(data, runs[0], why, Fit.LAYOUT)
    unclear = sheets_of(data, "unclear")
    if unclear and not sheets_of(data, "images") and unclear[0].further:
        why = message(
            "data.refuse.csv_pairs",
            "{file} names several images in each row (also in {further}), as pairs, which are not read: keep one "
            "column of images, or use --format csv-images --target COLUMN, which reads those of the column {image}",
            file=unclear[0].file.relative, further=unclear[0].further, image=unclear[0].header[unclear[0].image],
        )  # fmt: skip
        return _undecided(data, unclear[0], why, Fit.LAYOUT)
    if unclear and not sheets_of(data, "images"):
        why = message(
            "data.refuse.csv_unclear",
            "{file} names images, but which of its columns ({columns}) is the label is not clear: use --format "
            "csv-images --target COLUMN", **_names_of(unclear[0]),
        )  # fmt: skip
        return _undecided(data, unclear[0], why, Fit.LAYOUT)
    found = _look(data, "images", Fit.CONVERTED)
    layout = None if found is None or data.is_file else class_layout(data)
    if layout is not None and layout.listed:
        return None  # classes of a split beside class folders, which `folder` reads with them
    return found if found is None or layout is None else replace(found, refuse=found.refuse or layout.refuse_list)


def _names_of(sheet: Sheet) -> dict[str, Any]:
    """File and columns of a table, for messages."""
    return {"file": sheet.file.relative, "columns": sheet.header}


def _undecided(data: Survey, sheet: Sheet, why: Message, fit: Fit) -> Evidence:
    """Evidence of a table that is refused for the reason `why`. fit: where it is one file of a folder."""
    seen = message("data.seen.csv_unread", "{file} has the columns {columns}", **_names_of(sheet))
    return Evidence(Fit.MARKED if data.is_file else fit, seen, why)


def names_target(data: Survey, target: str) -> bool:
    """Return whether `target` is the column of labels of a csv of images that is unclear without it."""
    found = [] if sheets_of(data, "images") else _of_any_column(data)
    return any(target.lower() in map(str.lower, sheet.header) for sheet in found)


def _of_any_column(data: Survey) -> list[Sheet]:
    """Tables whose column of labels only --target tells."""
    return sheets_of(data, "unclear") or sheets_of(data, "unread")


def look_classes(data: Survey) -> Evidence | None:
    """csv files with a column of images and a column of 0 and 1 per class."""
    return _look(data, "classes", Fit.CONVERTED)


def _look(data: Survey, kind: str, fit: Fit) -> Evidence | None:
    sheets = sheets_of(data, kind)
    if not sheets:
        return None
    sheet = sheets[0]
    names = [sheet.header[i] for i in (sheet.image, *sheet.box, *([sheet.label] if sheet.label is not None else ()))]
    seen = message(
        "data.seen.labelled_csv", "{file} has the columns {columns}, and images are called so",
        file=sheet.file.relative, columns=names,
    )  # fmt: skip
    if not any(one.found for one in sheets):
        name = sheet.rows[0][sheet.image] if sheet.rows else ""
        reason = ImageIndex.of(surroundings(data)).find(name, sheet.file.folder, sheet.split)
        if isinstance(reason, str) and reason.startswith(AMBIGUOUS):
            why = message(
                "data.refuse.csv_ambiguous", "{file} names images that several files are called after ({reason}): "
                "move the others elsewhere", file=sheet.file.relative, reason=reason,
            )  # fmt: skip
            return Evidence(Fit.MARKED if data.is_file else fit, seen, why)
        if isinstance(reason, str) and reason.startswith(OUTSIDE):
            why = message(
                "data.refuse.csv_outside", "{file} names images outside the data folder ({name}): --follow-links reads "
                "them", file=sheet.file.relative, name=name,
            )  # fmt: skip
            return Evidence(Fit.MARKED, seen, why)
        why = message(
            "data.refuse.csv_images", "{file} names images ({name}) that lie neither beside it nor below",
            file=sheet.file.relative, name=sheet.rows[0][sheet.image],
        )  # fmt: skip
        # Names of image files beside a label or a box are no column of a table, though the images are elsewhere.
        of_images = names_images(sheet) and (kind == "boxes" or len(sheet.header) <= MAX_LABEL_COLUMNS)
        return Evidence(Fit.MARKED if data.is_file or of_images else Fit.POSSIBLE, seen, why)
    return Evidence(Fit.MARKED if data.is_file else fit, seen)


def open_boxes(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """`ImageFiles` and annotations of every csv of boxes; classes sorted by name.

    Without a column that is called like a class, every box is of the class "object", unless --target names one.
    """
    data = as_survey(path)
    sheets = sheets_of(data, "boxes")
    if config.target is not None:
        sheets = [replace(sheet, label=_label_column(sheet, config.target)) for sheet in sheets]
    wanted = wanted_task(data.path, task, masks=any(sheet.outline is not None for sheet in sheets))
    around = surroundings(data)
    reading = Reading(around, config, "csv boxes")
    reading.box_form = sheets[0].form if sheets else "corners"
    reading.notes += fold_notes(sheets)
    for sheet in sheets:
        if sheet.encoding:
            reading.notes.append(guessed_note(sheet.file.relative, sheet.encoding))
        if sheet.label is None:
            text = (
                "{file} has no column called like a class: every box is of the class object; --target COLUMN names it"
            )
            reading.notes.append(message("data.note.boxes_without_class", text, file=sheet.file.relative))
        fractions = has_fractions(sheet)
        for line in sheet.ragged:
            reading.skip(
                f"{sheet.file.relative} line {line}",
                message("data.problem.many_fields_header", "not as many fields as the header"),
            )
        names = _open_images_names(around) if "labelname" in sheet.header else {}
        if sheet.file.suffix == ".txt":
            names = {str(k): name for k, name in enumerate(class_list(around, {sheet.file.path}, sheet.file.folder))}
        if fractions:
            reading.notes.append(
                message(
                    "data.note.boxes_as_fractions",
                    "{file}: boxes are taken as fractions of the image",
                    file=sheet.file.relative,
                )
            )
        for row, line in zip(sheet.rows, sheet.lines):
            where = f"{sheet.file.relative} line {line}"
            one = reading.image(
                row[sheet.image], where, near=sheet.file.folder, split=sheet.split_of_row(row),
                size=size_of(sheet, row),
                fractions=fractions,
            )  # fmt: skip
            if one is None:
                continue
            one.where = sheet.file.relative if one.where == where else one.where
            label = row[sheet.label].strip() if sheet.label is not None else "object"
            numbers_of = sheet.box if sheet.outline is None else (sheet.outline,)
            if not any(row[i].strip() for i in numbers_of):
                continue  # a row that only names the image: it has no objects
            shape = None if sheet.outline is None else outline_of(row[sheet.outline])
            box = box_of_row(sheet, row) if shape is None else box_of(shape)
            reading.entries += 1
            crowd = "isgroupof" in sheet.header and row[sheet.header.index("isgroupof")].strip() == "1"
            fault = (
                ""
                if box is not None
                else message(
                    "data.problem.box_no_numbers",
                    "box {listed} is no four numbers",
                    listed=", ".join(row[i] for i in numbers_of)[:80],
                )
            )
            fault = fault or ("" if label else message("data.problem.no_class", "no class"))
            name = names.get(label, label)
            if names and sheet.file.suffix == ".txt" and label not in names and label not in names.values():
                fault = fault or message("data.problem.unknown_class", "unknown class: {label!r}", label=label)
            reading.add(one, f"line {line}", name, box or (0, 0, 0, 0), shape, ignore=crowd, fault=fault)
    reading.problems += without_images(data, "boxes")
    return reading.finish(wanted)


def open_images(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """`ImageFiles` and the labels of each image; a csv without labels, such as Kaggle's test.csv, is left out."""
    data = as_survey(path)
    others = _of_any_column(data) if config.target is not None and not sheets_of(data, "images") else []
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
    ragged = [
        Problem(
            f"{s.file.relative} line {n}",
            message("data.problem.many_fields_header", "not as many fields as the header"),
        )
        for s in sheets
        for n in s.ragged
    ]
    unlabelled = [s for s in sheets_in(data) if s.kind == "unlabelled"]
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
    name = "" if kind == "classes" else sheets[0].header[_label_column(sheets[0], config.target)]
    dataset = open_entries(around, form, entries, several, config, task, notes, ragged, columns, class_names, name)
    dataset = replace(dataset, problems=[*dataset.problems, *without_images(data, kind)])
    left = {sheet.split for sheet in unlabelled} - {TRAIN, UNASSIGNED}
    return replace(dataset, unlabelled=tuple(sorted({*dataset.unlabelled, *left})))


def fold_notes(sheets: Sequence[Sheet]) -> Sequence[str]:
    """A note on each column of folds, and of splits that are numbers, which are not used."""
    text = "the column {column} of {file} numbers folds and is not used: --folds {count} makes folds of its own"
    found = [(sheet, fold) for sheet in sheets if (fold := fold_column(sheet.header, sheet.rows)) is not None]
    notes = [
        message("data.note.fold_column", text, column=column, file=sheet.file.relative, count=count)
        for sheet, (column, count) in found
    ]
    text = "the column {column} of {file} is not used: {values} do not name the splits; write train, val and test"
    for sheet in sheets:
        if sheet.split_column is None and (other := numbered_splits(sheet.header, sheet.rows)) is not None:
            values = {"column": other[0], "file": sheet.file.relative, "values": other[1]}
            notes.append(message("data.note.numbered_splits", text, **values))
    return notes


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
    rows = [(s, row, line, row[_label_column(s, target)].strip()) for s in sheets for row, line in zip(s.rows, s.lines)]
    texts = [text for *_, text in rows]
    several = task is not None and TASKS[task].several_labels
    points = None if several else with_decimal_points(texts, sheets[0].separator)
    if points is not None:
        rows = [(sheet, row, line, text) for (sheet, row, line, _), text in zip(rows, points)]
        texts = points
        notes.append(str(message("data.decimal_commas", "the commas of the labels are taken as decimal points")))
    separator = separator_in(texts)
    if task is None and separator is not None:
        columns = {s.header[_label_column(s, target)] for s in sheets}
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


def _label_column(sheet: Sheet, target: str | None) -> int:
    if target is None and sheet.label is not None:
        return sheet.label
    if target is None:
        raise refusal(
            "--target",
            message("data.wanted.labelled_csv_column", "a column of {path}", path=sheet.file.path),
            NOTHING,
            near=sheet.header,
        )
    names = [name.lower() for name in sheet.header]
    if target.lower() not in names:
        raise refusal(
            "--target",
            message("data.wanted.labelled_csv_column", "a column of {path}", path=sheet.file.path),
            target,
            near=sheet.header,
        )
    return names.index(target.lower())


def _open_images_names(data: Survey) -> dict[str, str]:
    """Open Images' class names: "/m/01g317" -> "Person", from class-descriptions*.csv or a list without header."""
    lists = [file for file in data.of(".csv") if file.name.lower().startswith(CLASS_DESCRIPTIONS)]
    lists += [file for file in data.of(".csv") if next(iter(data.lines(file)), "").startswith("/m/")]
    for file in lists:
        rows = csv.reader(io.StringIO(read_text(file.path)))
        return {row[0]: row[1].strip() for row in rows if len(row) == 2}
    return {}

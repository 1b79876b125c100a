"""csv files that name images and hold a box in each row. The columns are recognised by name and value (`sheets.py`)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from danlu.config import DataConfig
from danlu.data.dataset import Dataset
from danlu.data.files.survey import Survey, as_survey, surroundings
from danlu.data.files.text_files import guessed_note, read_text
from danlu.data.sources.labelled_images.labelled import Labelled, wanted_task
from danlu.data.sources.labelled_images.reading import Reading, box_of
from danlu.data.sources.tables.class_lists import class_list
from danlu.data.sources.tables.outline_columns import outline_of
from danlu.data.sources.tables.sheet_boxes import box_of_row, has_fractions, size_of
from danlu.data.sources.tables.sheet_reading import RAGGED, fold_notes, label_column
from danlu.data.sources.tables.sheets import Sheet, sheets_of, without_images
from danlu.data.sources.tables.targets import Task
from danlu.message import message

CLASS_DESCRIPTIONS = ("class-descriptions", "oidv7-class-descriptions")  # of Open Images, as FiftyOne's classes.csv


def open_boxes(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """`ImageFiles` and annotations of every csv of boxes; classes sorted by name.

    Without a column that is called like a class, every box is of the class "object", unless --target names one.
    """
    data = as_survey(path)
    sheets = sheets_of(data, "boxes")
    if config.target is not None:
        sheets = [replace(sheet, label=label_column(sheet, config.target)) for sheet in sheets]
    wanted = wanted_task(data.path, task, masks=any(sheet.outline is not None for sheet in sheets))
    around = surroundings(data)
    reading = Reading(around, config, "csv boxes")
    reading.box_form = sheets[0].form if sheets else "corners"
    reading.notes += fold_notes(sheets)
    for sheet in sheets:
        _read(sheet, reading, around)
    reading.problems += without_images(data, "boxes")
    return reading.finish(wanted)


def _read(sheet: Sheet, reading: Reading, around: Survey) -> None:
    """Add the objects of one table to `reading`, with notes on what had to be assumed."""
    fractions = has_fractions(sheet)
    reading.notes += _notes(sheet, fractions)
    for line in sheet.ragged:
        reading.skip(f"{sheet.file.relative} line {line}", RAGGED)
    names = _class_names(sheet, around)
    for row, line in zip(sheet.rows, sheet.lines):
        where = f"{sheet.file.relative} line {line}"
        one = reading.image(
            row[sheet.image], where, near=sheet.file.folder, split=sheet.split_of_row(row),
            size=size_of(sheet, row), fractions=fractions,
        )  # fmt: skip
        if one is None:
            continue
        one.where = sheet.file.relative if one.where == where else one.where
        _add_object(sheet, row, f"line {line}", names, one, reading)


def _notes(sheet: Sheet, fractions: bool) -> list[str]:
    """Notes on a guessed encoding, a missing column of classes, and boxes taken as fractions."""
    notes, file = [], sheet.file.relative
    if sheet.encoding:
        notes.append(guessed_note(file, sheet.encoding))
    if sheet.label is None:
        text = "{file} has no column called like a class: every box is of the class object; --target COLUMN names it"
        notes.append(message("data.note.boxes_without_class", text, file=file))
    if fractions:
        text = "{file}: boxes are taken as fractions of the image"
        notes.append(message("data.note.boxes_as_fractions", text, file=file))
    return notes


def _class_names(sheet: Sheet, around: Survey) -> dict[str, str]:
    """Class names by the labels that a table has instead: Open Images' identifiers, or numbers in a text file."""
    if sheet.file.suffix == ".txt":
        return {str(k): name for k, name in enumerate(class_list(around, {sheet.file.path}, sheet.file.folder))}
    return _open_images_names(around) if "labelname" in sheet.header else {}


def _add_object(
    sheet: Sheet, row: Sequence[str], place: str, names: dict[str, str], image: Labelled, reading: Reading
) -> None:
    """Add the object of a row to its image; a row whose box is empty only names the image, which has no objects."""
    columns = sheet.box if sheet.outline is None else (sheet.outline,)
    if not any(row[i].strip() for i in columns):
        return
    shape = None if sheet.outline is None else outline_of(row[sheet.outline])
    box = box_of_row(sheet, row) if shape is None else box_of(shape)
    label = row[sheet.label].strip() if sheet.label is not None else "object"
    fault: str = ""
    if box is None:
        listed = ", ".join(row[i] for i in columns)[:80]
        fault = message("data.problem.box_no_numbers", "box {listed} is no four numbers", listed=listed)
    elif not label:
        fault = message("data.problem.no_class", "no class")
    elif sheet.file.suffix == ".txt" and names and label not in names and label not in names.values():
        fault = message("data.problem.unknown_class", "unknown class: {label!r}", label=label)
    crowd = "isgroupof" in sheet.header and row[sheet.header.index("isgroupof")].strip() == "1"
    reading.entries += 1
    reading.add(image, place, names.get(label, label), box or (0, 0, 0, 0), shape, ignore=crowd, fault=fault)


def _open_images_names(data: Survey) -> dict[str, str]:
    """Open Images' class names: "/m/01g317" -> "Person", from class-descriptions*.csv or a list without header."""
    lists = [file for file in data.of(".csv") if file.name.lower().startswith(CLASS_DESCRIPTIONS)]
    lists += [file for file in data.of(".csv") if next(iter(data.lines(file)), "").startswith("/m/")]
    for file in lists:
        rows = csv.reader(io.StringIO(read_text(file.path)))
        return {row[0]: row[1].strip() for row in rows if len(row) == 2}
    return {}

"""csv files that name images and hold the run lengths of a mask in each row, as Kaggle's of ships or steel."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from danlu.config import DataConfig
from danlu.data.annotations import Raster
from danlu.data.dataset import Dataset
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.image_file import UNREADABLE
from danlu.data.files.survey import Survey, as_survey, surroundings
from danlu.data.files.text_files import guessed_note
from danlu.data.sources.labelled_images.labelled import Labelled
from danlu.data.sources.labelled_images.reading import Reading
from danlu.data.sources.tables.run_length_columns import EMPTY, are_by_rows, box_of_mask, mask_of
from danlu.data.sources.tables.sheets import Sheet, sheets_of
from danlu.data.sources.tables.targets import Task
from danlu.message import message
from danlu.task_spec import TASKS, object_task

FORM = "csv masks"
LOOKED = 40  # masks by which the direction of the run lengths is recognised
MAX_PIXELS = 200_000_000  # of an image whose masks are drawn


class _Row(NamedTuple):
    one: Labelled
    where: str
    label: str
    runs: str


def look(data: Survey) -> Evidence | None:
    """csv files with a column of images and one of run lengths."""
    sheets = [sheet for sheet in sheets_of(data, "runs") if sheet.found]
    if not sheets:
        return None
    sheet = sheets[0]
    seen = message(
        "data.seen.csv_masks", "{file} has the columns {columns}, and images are called so",
        file=sheet.file.relative, columns=[sheet.header[i] for i in (sheet.image, *sheet.columns)],
    )  # fmt: skip
    return Evidence(Fit.MARKED if data.is_file else Fit.CONVERTED, seen)


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """`ImageFiles` and an object for each mask of every csv of run lengths; classes sorted by name."""
    data = as_survey(path)
    reading = Reading(surroundings(data), config, FORM)
    rows = [row for sheet in sheets_of(data, "runs") for row in _rows(sheet, reading)]
    sizes: dict[Path, tuple[int, int] | None] = {}
    for row in rows:
        if row.one.image not in sizes:
            sizes[row.one.image] = _size_of(row.one.image)
    known = [(row.runs, size) for row in rows if (size := sizes[row.one.image]) is not None]
    by_rows = are_by_rows(known[:: max(1, len(known) // LOOKED)])
    separate = 0
    for row in rows:
        size = sizes[row.one.image]
        if size is None:
            continue  # the audit names the image
        reading.entries += 1
        try:
            mask = mask_of(row.runs, size, by_rows)
        except ValueError as error:
            fault = message("data.problem.run_lengths", "{error}", error=error)
            reading.add(row.one, row.where, row.label, (0, 0, 0, 0), fault=fault)
            continue
        x1, y1, x2, y2 = box = box_of_mask(mask)
        pixels = np.ascontiguousarray(mask[y1:y2, x1:x2])
        separate += _is_separate(pixels)
        reading.add(row.one, row.where, row.label, box, Raster(pixels, x1, y1))
    if by_rows:
        note = message("data.note.runs_by_rows", "run lengths are counted along the rows, by the shapes that result")
        reading.notes.append(note)
    if separate:
        text = "{count} of {total} masks have several separate regions, each mask taken as one object; --task semantic "
        text += "takes them as a class per pixel"
        reading.notes.append(message("data.note.separate_regions", text, count=separate, total=len(rows)))
    return reading.finish(object_task(task is None or TASKS[task].masks))


def _rows(sheet: Sheet, reading: Reading) -> list[_Row]:
    """The rows with a mask; images of the others are recorded without objects."""
    if sheet.encoding:
        reading.notes.append(guessed_note(sheet.file.relative, sheet.encoding))
    (column,) = sheet.columns
    found = []
    for row, line in zip(sheet.rows, sheet.lines):
        where = f"{sheet.file.relative} line {line}"
        one = reading.image(row[sheet.image], where, near=sheet.file.folder, split=sheet.split_of_row(row))
        if one is None or row[column].strip().lower() in EMPTY:
            continue
        one.where = sheet.file.relative
        label = row[sheet.label].strip() if sheet.label is not None else "object"
        found.append(_Row(one, f"line {line}", label, row[column]))
    if sheet.label is None:
        text = "{file} has no column of classes: every mask is of the class object"
        reading.notes.append(message("data.note.masks_without_class", text, file=sheet.file.relative))
    return found


def _size_of(path: Path) -> tuple[int, int] | None:
    """(height, width) of an image file; None if it is unreadable or too large."""
    try:
        with Image.open(path) as image:
            return (image.height, image.width) if image.width * image.height <= MAX_PIXELS else None
    except UNREADABLE:
        return None


def _is_separate(pixels: np.ndarray) -> bool:
    """Return whether a mask has several regions, with 8-connectivity."""
    from scipy import ndimage

    labelled = ndimage.label(pixels, structure=np.ones((3, 3)))
    assert isinstance(labelled, tuple)
    return labelled[1] > 1

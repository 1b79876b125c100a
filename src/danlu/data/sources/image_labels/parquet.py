"""Parquet and Arrow files of images with labels or boxes (Hugging Face datasets)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from danlu.config import DataConfig
from danlu.data.dataset import SPLITS, TEST, VAL, Dataset
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, as_survey
from danlu.data.sources.image_labels.arrow_tables import SUFFIXES, ImageTable, Row, installed, tables
from danlu.data.sources.image_labels.json_labels import objects_of
from danlu.data.sources.labelled_images.labelled import wanted_task
from danlu.data.sources.labelled_images.reading import Reading
from danlu.data.sources.tables.label_columns import CLASS_COLUMNS
from danlu.data.sources.tables.label_entries import open_entries
from danlu.data.sources.tables.label_values import Entry
from danlu.data.sources.tables.targets import Task
from danlu.message import Message, message
from danlu.refuse import NOTHING, Refusal, refusal
from danlu.task_spec import TASKS

NO_LABEL = -1  # of a class number: an image of a test set without labels


def look_labels(survey: Survey) -> Evidence | None:
    """Recognise Parquet or Arrow files with a column of images and none of boxes."""
    return _look(survey, boxes=False)


def look_boxes(survey: Survey) -> Evidence | None:
    """Recognise Parquet or Arrow files with columns of images and of boxes."""
    return _look(survey, boxes=True)


def _look(survey: Survey, boxes: bool) -> Evidence | None:
    files = survey.of(*SUFFIXES)
    if not files:
        return None
    seen = message("data.seen.parquet", "{count} {suffix} files", count=len(files), suffix=files[0].suffix)
    why: Message | None = None
    if not installed():
        why = message(
            "data.refuse.pyarrow", "{file} is read with pyarrow, which is not installed: pip install danlu[parquet]",
            file=files[0].relative,
        )  # fmt: skip
    else:
        try:
            found = tables(survey)
        except Refusal as error:
            return Evidence(Fit.MARKED, seen, message("data.refuse.parquet_cut", "{error}", error=str(error)))
        if found and (found[0].objects is not None) == boxes:
            return Evidence(Fit.MARKED, seen)
        if found or survey.images:
            return None
        why = message("data.refuse.no_image_column", "{file} has no column of images", file=files[0].relative)
    return None if survey.images else Evidence(Fit.MARKED, seen, why)


def open_labels(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and labels: class numbers with their names, text, numbers or lists of labels."""
    survey = as_survey(path)
    found = tables(survey)
    if not found:
        raise Refusal(
            message(
                "data.refuse.parquet_arrow_file_column",
                "{path} has no Parquet or Arrow file with a column of images",
                path=survey.path,
            )
        )
    column = _label_column(found[0], config)
    names = found[0].names(column)
    images = _Images(survey)
    entries: list[Entry] = []
    lists = False
    left: dict[int, int] = defaultdict(int)
    for table in found:
        for row in table.rows(column):
            value = row.values[column]
            if table.split in (VAL, TEST) and (value is None or value == NO_LABEL):
                left[table.split] += 1
                continue
            lists = lists or isinstance(value, list)
            where = f"{table.file.relative} row {row.number + 1}"
            entries.append(Entry(images.add(table, row), where, (), _labels(value, names), table.split))
    several = lists if task is None else TASKS[task].several_labels
    text = "the {count} {count:image|images} of the {split} split {count:has|have} no label: for prediction, not read"
    notes = [message("data.note.images_split_label_prediction", text, count=n, split=SPLITS[split])
             for split, n in left.items()]  # fmt: skip
    around, notes = images.survey(), notes + images.notes()
    dataset = open_entries(around, "parquet", entries, several, config, task, notes, label_names=names or ())
    labelled = {one.split for one in entries}
    return replace(dataset, path=str(survey.path), unlabelled=tuple(sorted(set(left) - labelled)))


def open_boxes(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and boxes x, y, width, height."""
    survey = as_survey(path)
    wanted = wanted_task(survey.path, task, masks=False)
    found = [table for table in tables(survey) if table.objects is not None]
    if not found or found[0].objects is None:
        raise Refusal(
            message(
                "data.refuse.parquet_arrow_file_columns",
                "{path} has no Parquet or Arrow file with columns of images and boxes",
                path=survey.path,
            )
        )
    column = found[0].objects
    names = found[0].names(column)
    images = _Images(survey)
    rows = [(table, row, images.add(table, row)) for table in found for row in table.rows(column)]
    reading = Reading(images.survey(), config, "parquet boxes", names)
    reading.box_form = "sized"
    reading.notes += [
        *images.notes(),
        message("data.note.boxes_taken_width_height", "boxes are taken as x, y, width, height"),
    ]
    for table, row, name in rows:
        where = f"{table.file.relative} row {row.number + 1}"
        one = reading.image(name, where, split=table.split)
        for i, (box, label) in enumerate(objects_of(row.values[column]) if one is not None else (), 1):
            assert one is not None
            if not isinstance(box, list) or len(box) != 4:
                reading.skip(
                    f"{where} object {i}", message("data.problem.no_box_of_four", "has no box of four numbers")
                )
                continue
            reading.entries += 1
            x, y, width, height = map(float, box)
            text = next(iter(_labels(label, names)), "")
            reading.add(one, f"{where} object {i}", text, (x, y, x + width, y + height))
    return replace(reading.finish(wanted), path=str(survey.path))


class _Images:
    """Image files of the rows: those named by a path, and those written from encoded images."""

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._folders: dict[Path, Path] = {}
        self._files: list[File] = []
        self._stems: dict[Path, dict[str, Path]] = {}

    def add(self, table: ImageTable, row: Row) -> str:
        """The name by which the image of a row is found in `survey()`; of a missing one, a name that nothing has."""
        if isinstance(row.image, str):
            return row.image
        if row.image is None:
            return f"{table.file.stem}/{row.number:06}"
        path = table.file.path
        if path not in self._folders:
            self._folders[path] = table.unpacked()
            self._stems[path] = {file.stem: file for file in self._folders[path].iterdir()}
        file = self._stems[path][f"{row.number:06}"]
        place = f"{len(self._folders)} {table.file.stem}"
        self._files.append(File(file, (place, file.name)))
        return f"{place}/{file.name}"

    def survey(self) -> Survey:
        """The files of the data set and the written images."""
        files = sorted([*self._survey.files, *self._files], key=lambda file: file.parts)
        return Survey(self._survey.path, self._survey.root, files, self._survey.folders, self._survey.links)

    def notes(self) -> list[str]:
        if not self._folders:
            return []
        return [f"{len(self._files)} images are written to {next(iter(self._folders.values())).parent}"]


def _label_column(table: ImageTable, config: DataConfig) -> str:
    columns = [name for name in table.schema.names if name != table.image]
    if config.target is not None:
        if config.target not in columns:
            raise refusal(
                "--target",
                message("data.wanted.parquet_column", "a column of {path}", path=table.file.path),
                config.target,
                near=columns,
            )
        return config.target
    named = [name for name in columns if name.lower() in CLASS_COLUMNS]
    marked = [name for name in columns if table.names(name)]
    found = [name for name in named if name in marked] or (marked if len(marked) == 1 else named if not marked else [])
    if not found and len(columns) == 1:
        return columns[0]
    if not found:
        raise refusal(
            "--target",
            message("data.wanted.column_labels", "the column of labels of {path}", path=table.file.path),
            NOTHING,
            near=marked or columns,
        )
    return min(found, key=lambda name: CLASS_COLUMNS.index(name.lower()) if name.lower() in CLASS_COLUMNS else 99)


def _labels(value: Any, names: list[str] | None) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    found = []
    for one in values:
        if one is None:
            continue
        if isinstance(one, int) and not isinstance(one, bool) and names is not None:
            found.append(names[one] if 0 <= one < len(names) else "")
        else:
            found.append(str(one).strip())
    return tuple(dict.fromkeys(label for label in found if label))

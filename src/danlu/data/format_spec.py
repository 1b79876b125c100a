"""`FormatSpec`: an entry of the table of data formats, and `look` and `open` of formats that read a path."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from danlu.config import DataConfig
from danlu.data.dataset import Dataset
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import Survey
from danlu.data.sources.tables.targets import Task
from danlu.message import message
from danlu.refuse import Refusal
from danlu.task_spec import TASKS, TaskName

Opener = Callable[[Any, DataConfig, Task | None], Dataset]
# Tasks that a format's data can have, the default first.
OBJECTS: tuple[TaskName, ...] = ("detect", "segment")
MASKS: tuple[TaskName, ...] = ("segment", "detect")
BOXES: tuple[TaskName, ...] = ("detect",)
POSES: tuple[TaskName, ...] = ("pose", "detect")
CLASSES: tuple[TaskName, ...] = ("classify",)
CHOICES: tuple[TaskName, ...] = ("classify", "multilabel")
LABELS: tuple[TaskName, ...] = ("classify", "multilabel", "regress")


@dataclass(frozen=True)
class FormatSpec:
    """One format on disk.

    look: survey -> evidence for it, or None. open: (survey, config, task) -> Dataset. tasks: that its data can have,
    the default first. layout: its files in one line. reader: the library that reads it; danlu's own code by default.
    tests: the test file. sets: published sets that it is tested or measured on. on_request: read only with --format.
    lists_every_image: its data names each image of the folder, as a sample, a mask or a problem, so that none is left
    out unnoticed. mask_files: a file of masks belongs to each image. target: --target names the column of its labels.
    """

    description: str
    look: Callable[[Survey], Evidence | None]
    open: Opener
    tasks: tuple[TaskName, ...] = ()
    layout: str = ""
    tests: str = ""
    reader: str = "danlu"
    sets: str = ""
    on_request: bool = False
    lists_every_image: bool = False
    mask_files: bool = False
    target: bool = False

    @property
    def outlines(self) -> bool:
        """It holds outlines of objects, from which label maps can be drawn."""
        return any(TASKS[task].masks for task in self.tasks)

    def can_serve(self, task: TaskName) -> bool:
        """Return whether data of this format can be read for a task of its kind."""
        if TASKS[task].labels_pixels:
            return self.outlines or task in self.tasks
        return self.objects == TASKS[task].finds_objects and not any(TASKS[one].labels_pixels for one in self.tasks)

    @property
    def objects(self) -> bool:
        """It holds objects to find in images, to detect or to segment."""
        return any(TASKS[task].finds_objects for task in self.tasks)


def on_path(
    looks_like: Callable[[Path], bool], what: str, part: re.Pattern[str] | None = None
) -> Callable[[Survey], Evidence | None]:
    """`look` of a format that is recognised by the path alone: that of the data, or of a folder below it.

    part: names of the files of the format, by which folders below are found; None: only the path itself counts.
    """

    def look(data: Survey) -> Evidence | None:
        places = _places(data, looks_like, part)
        if not places:
            return None
        seen = message("data.seen.path", "{what}", what=what)
        if len(places) == 1:
            return Evidence(Fit.MARKED, seen)
        text = "{path}: several folders hold {what} ({folders}); name the one to read"
        folders = [str(one.relative_to(data.path)) for one in places]
        return Evidence(
            Fit.MARKED, seen, message("data.refuse.several_places", text, path=data.path, what=what, folders=folders)
        )

    return look


def _places(data: Survey, looks_like: Callable[[Path], bool], part: re.Pattern[str] | None) -> list[Path]:
    """Return the path of the data if it looks like the format, else the folders below it that look like it."""
    if looks_like(data.path):
        return [data.path]
    if data.is_file or part is None:
        return []
    folders = sorted({file.folder for file in data.files if part.fullmatch(file.name)})
    return [place for folder in folders if looks_like(place := data.root.joinpath(*folder))]


def of_path(opener: Opener, looks_like: Callable[[Path], bool], part: re.Pattern[str] | None = None) -> Opener:
    """`open` of a format that lists its files itself, and so must not meet a link out of the data folder.

    looks_like, part: as for `on_path`.
    """

    def open(data: Any, config: DataConfig, task: Task | None) -> Dataset:
        if isinstance(data, Survey) and data.links_out:
            link = data.links_out[0]
            raise Refusal(
                message(
                    "data.refuse.format_table",
                    "{path}: {where} is {reason}",
                    path=data.path,
                    where=link.where,
                    reason=link.reason,
                )
            )
        if not isinstance(data, Survey):
            return opener(data, config, task)
        place = next(iter(_places(data, looks_like, part)), data.path)
        dataset = opener(place, config, task)
        if place != data.path:
            text = "read from {folder}/, where the data of this format are"
            folder = place.relative_to(data.path).as_posix()
            dataset = replace(
                dataset, notes=[*dataset.notes, message("data.note.read_from_folder", text, folder=folder)]
            )
        return dataset

    return open

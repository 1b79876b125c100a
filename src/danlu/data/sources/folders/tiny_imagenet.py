"""Tiny ImageNet: class folders for training, and a list of names and classes for the validation images.

train/CLASS/images/NAME.JPEG, val/images/NAME.JPEG, and val/val_annotations.txt with the name of an image, its class and
a box, separated by tabs. The boxes are not read. Images in test/ have no labels.
"""

from __future__ import annotations

from pathlib import Path

from danlu.config import DataConfig
from danlu.data.dataset import TEST, TRAIN, UNASSIGNED, VAL, Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, as_survey
from danlu.data.files.text_files import read_lines
from danlu.data.sources.tables.label_entries import open_entries
from danlu.data.sources.tables.label_values import Entry
from danlu.data.sources.tables.targets import Task
from danlu.data.split_names import split_of, split_of_path
from danlu.message import message

FORM = "tiny imagenet"
LIST = "_annotations.txt"  # end of the name of a list
IMAGES = "images"  # folder of the images in that of a class
MIN_FIELDS = 2  # of a line: name and class; four numbers of a box may follow
BOX_FIELDS = 4


def look(survey: Survey) -> Evidence | None:
    """Recognise a list of images and classes beside class folders with an images/ folder each."""
    lists = _lists(survey)
    if not lists or not any(_class_of(file) for file in survey.images):
        return None
    text = "{file} lists the classes of some images, the others are in class folders (Tiny ImageNet)"
    return Evidence(Fit.MARKED, message("data.seen.tiny_imagenet", text, file=lists[0].relative))


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and classes, which have the names of the class folders (WordNet numbers in the original)."""
    survey = as_survey(path)
    entries, problems, notes = [], [], []
    for file in survey.images:
        if label := _class_of(file):
            entries.append(Entry(file.name, file.relative, file.folder, (label,), split_of(file.folder[-3])))
    for listed in _lists(survey):
        split = split_of(listed.name.removesuffix(LIST))
        split = split if split != UNASSIGNED else split_of_path(listed.folder)
        for number, line in enumerate(read_lines(listed.path), 1):
            fields = line.rstrip().split("\t")
            where = f"{listed.relative} line {number}"
            if len(fields) >= MIN_FIELDS:
                entries.append(Entry(fields[0], where, listed.folder, (fields[1],), VAL if split == TRAIN else split))
            elif line.strip():
                problems.append(
                    Problem(
                        where,
                        message(
                            "data.problem.must_name_tab_class",
                            "must be a name, a tab and a class, got {line!r}",
                            line=line[:60],
                        ),
                    )
                )
    unlabelled = sum(split_of_path(file.folder) == TEST for file in survey.images)
    if unlabelled and not any(entry.split == TEST for entry in entries):
        notes.append(
            message(
                "data.note.images_test_split_labels",
                "{unlabelled} images of the test split have no labels: they are not read (danlu predict takes them)",
                unlabelled=unlabelled,
            )
        )
    return open_entries(survey, FORM, entries, False, config, task, notes, problems)


def _lists(survey: Survey) -> list[File]:
    """Files such as val_annotations.txt whose first lines are a name, a class and perhaps a box."""
    named = [file for file in survey.of(".txt") if file.name.lower().endswith(LIST)]
    return [file for file in named if all(map(_is_entry, survey.lines(file)[:5])) and survey.lines(file)]


def _is_entry(line: str) -> bool:
    fields = line.rstrip().split("\t")
    return len(fields) in (MIN_FIELDS, MIN_FIELDS + BOX_FIELDS) and "." in fields[0]


def _class_of(file: File) -> str:
    """Class of an image at SPLIT/CLASS/images/NAME; empty for other images."""
    *_, split, name, inner = ("", "", "", *file.folder)
    return name if inner.lower() == IMAGES and split_of(split) != UNASSIGNED else ""

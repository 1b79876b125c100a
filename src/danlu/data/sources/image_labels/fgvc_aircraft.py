"""FGVC-Aircraft: lists of images with their variant, family and manufacturer, one per split.

images_variant_train.txt, images_variant_val.txt, images_variant_test.txt (and _trainval, which repeats two of them)
hold an image without its extension and a class in each line, which may contain spaces; likewise images_family_*.txt
and images_manufacturer_*.txt. Maji et al., Fine-Grained Visual Classification of Aircraft, 2013.
"""

from __future__ import annotations

import re
from pathlib import Path

from danlu.config import DataConfig
from danlu.data.dataset import TRAIN, Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, as_survey
from danlu.data.files.text_files import read_lines
from danlu.data.sources.tables.label_entries import open_entries
from danlu.data.sources.tables.label_values import Entry
from danlu.data.sources.tables.targets import Task
from danlu.data.split_names import split_of
from danlu.message import message
from danlu.refuse import refusal

FORM = "fgvc aircraft"
LEVELS = ("variant", "family", "manufacturer")  # of the classes, the finest first
LIST = re.compile(rf"images_({'|'.join(LEVELS)})_(train|val|test|trainval)\.txt")


def look(survey: Survey) -> Evidence | None:
    """Recognise the lists of variants, families or manufacturers."""
    found = _lists(survey)
    if not found or not survey.images:
        return None
    level, files = next(iter(found.items()))
    text = "{count} lists of the {level} of each image (FGVC-Aircraft)"
    return Evidence(Fit.MARKED, message("data.seen.fgvc_aircraft", text, count=len(files), level=level))


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and the variants, or the level of `config.target`. Raises Refusal for another target."""
    survey = as_survey(path)
    found = _lists(survey)
    level = config.target or next(iter(found))
    if level not in found:
        raise refusal("--target", message("data.wanted.fgvc_level", "one of {levels}", levels=list(found)), level)
    entries, problems = [], []
    for file in found[level]:
        for number, line in enumerate(read_lines(file.path), 1):
            name, _, label = line.strip().partition(" ")
            where = f"{file.relative} line {number}"
            if label.strip():
                entries.append(Entry(name, where, file.folder, (label.strip(),), split_of(file.stem)))
            elif name:
                problems.append(
                    Problem(
                        where,
                        message(
                            "data.problem.must_image_space_got",
                            "must be an image, a space and a {level}, got {line!r}",
                            level=level,
                            line=line[:60],
                        ),
                    )
                )
    others = [one for one in found if one != level]
    notes: list[str] = (
        [
            message(
                "data.note.level_of_classes",
                "the classes are those of {level}; --target {others} reads others",
                level=level,
                others=" or ".join(others),
            )
        ]
        if others
        else []
    )
    return open_entries(survey, FORM, entries, False, config, task, notes, problems)


def _lists(survey: Survey) -> dict[str, list[File]]:
    """Lists by their level; trainval, which repeats those of train and val, only in place of them."""
    found: dict[str, list[File]] = {level: [] for level in LEVELS}
    for file in survey.of(".txt"):
        if match := LIST.fullmatch(file.name.lower()):
            found[match[1]].append(file)
    for level, files in found.items():
        apart = [file for file in files if not file.stem.lower().endswith("_trainval")]
        if any(split_of(file.stem) == TRAIN for file in apart):
            found[level] = apart
    return {level: files for level, files in found.items() if files}

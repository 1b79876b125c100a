"""Text files of one object per line: KITTI's label_2 and DOTA's labelTxt, named like their images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from danlu.config import DataConfig
from danlu.data.annotations import Polygons
from danlu.data.dataset import Dataset
from danlu.data.evidence import Evidence, Fit
from danlu.data.sources.labelled import wanted_task
from danlu.data.sources.reading import Reading, box_of
from danlu.data.sources.targets import Task
from danlu.data.split_names import split_of_path
from danlu.data.survey import File, Survey, as_survey, normal, sample
from danlu.data.text_files import read_lines
from danlu.message import message

KITTI_FIELDS = (15, 16)  # type, truncated, occluded, alpha, 4 of the box, 3 sizes, 3 places, angle; score of results
DOTA_FIELDS = (9, 10)  # 8 of the corners, class, difficult
IGNORED = "DontCare"  # KITTI's regions in which objects are not labelled


def is_kitti(line: str) -> bool:
    """Whether a line is "Car 0.00 0 -1.57 614 181 727 284 ..."."""
    fields = line.split()
    return len(fields) in KITTI_FIELDS and not _is_number(fields[0]) and all(map(_is_number, fields[1:]))


def is_dota(line: str) -> bool:
    """Whether a line is eight numbers, a class and perhaps a difficulty."""
    fields = line.split()
    return len(fields) in DOTA_FIELDS and all(map(_is_number, fields[:8])) and not _is_number(fields[8])


def look_kitti(survey: Survey) -> Evidence | None:
    """Text files of KITTI's fifteen fields."""
    files = _files(survey, is_kitti)
    return Evidence(Fit.MARKED, message("data.seen.kitti", "{files} .txt files of KITTI's fields", files=len(files))) \
        if files else None  # fmt: skip


def look_dota(survey: Survey) -> Evidence | None:
    """Text files of DOTA's four corners and a class."""
    files = _files(survey, is_dota)
    return Evidence(Fit.MARKED, message("data.seen.dota", "{files} .txt files of DOTA's corners", files=len(files))) \
        if files else None  # fmt: skip


def open_kitti(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """`ImageFiles` and boxes; regions called DontCare are left out and counted."""
    survey = as_survey(path)
    wanted = wanted_task(survey.path, task, masks=False)
    reading = Reading(survey, config, "kitti")
    ignored = 0
    for file in _files(survey, is_kitti):
        one = reading.image(file.stem, file.relative, near=file.folder, split=split_of_path(file.folder))
        for number, line in enumerate(read_lines(file.path) if one is not None else (), 1):
            fields = line.split()
            if not fields or fields[0] == IGNORED:
                ignored += bool(fields)
                continue
            if not is_kitti(line):
                reading.skip(f"{file.relative} line {number}", f"must have 15 fields, got {line[:60]!r}")
                continue
            reading.entries += 1
            assert one is not None
            reading.add(one, f"line {number}", fields[0], [float(v) for v in fields[4:8]])
    if ignored:
        reading.notes.append(f"{ignored} regions called {IGNORED} are left out")
    return reading.finish(wanted)


def open_dota(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """`ImageFiles` and the boxes around the corners of each object; difficult ones are ignored."""
    survey = as_survey(path)
    reading = Reading(survey, config, "dota")
    reading.notes.append("objects are given by four corners: their boxes enclose these")
    for file in _files(survey, is_dota):
        one = reading.image(file.stem, file.relative, near=file.folder, split=split_of_path(file.folder))
        for number, line in enumerate(read_lines(file.path) if one is not None else (), 1):
            fields = line.split()
            if not fields or line.lower().startswith(("imagesource", "gsd")):
                continue
            if not is_dota(line):
                reading.skip(f"{file.relative} line {number}", f"must be 8 numbers and a class, got {line[:60]!r}")
                continue
            reading.entries += 1
            outline = Polygons((np.array([float(v) for v in fields[:8]]).reshape(4, 2),))
            difficult = len(fields) > 9 and fields[9] not in ("0", "0.0")
            assert one is not None
            reading.add(one, f"line {number}", fields[8], box_of(outline), outline, ignore=difficult)
    return reading.finish(wanted_task(survey.path, task, masks=True))


def _files(survey: Survey, fits: Callable[[str], bool]) -> list[File]:
    """Text files named like images, in folders where most of those that say anything have such lines."""
    found: list[File] = []
    for files in survey.by_folder.values():
        texts = [file for file in files if file.suffix == ".txt" and normal(file.stem) in survey.image_stems]
        filled = [lines for file in sample(texts) if (lines := _content(survey.lines(file)))]
        if filled and sum(fits(lines[0]) for lines in filled) > 0.5 * len(filled):
            found += texts
    return found


def _content(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if not line.lower().startswith(("imagesource", "gsd"))]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True

"""Text files with one object per line, named like their images: KITTI's label_2, DOTA's labelTxt and VisDrone's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from danlu.config import DataConfig
from danlu.data.annotations import Polygons
from danlu.data.dataset import Dataset
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, as_survey, normal, sample
from danlu.data.files.text_files import read_lines
from danlu.data.sources.labelled_images.labelled import wanted_task
from danlu.data.sources.labelled_images.reading import Reading, box_of
from danlu.data.sources.tables.targets import Task
from danlu.data.split_names import split_of_path
from danlu.message import message

KITTI_FIELDS = (15, 16)  # type, truncated, occluded, alpha, 4 of the box, 3 sizes, 3 places, angle; score of results
DOTA_FIELDS = (9, 10)  # 8 of the corners, class, difficult
FOLDERS = ("label_2", "labels", "label", "labeltxt", "labels_txt", "annotations", "labeltxt-v1.0", "labeltxt-v1.5")
VISDRONE_FIELDS = 8  # x, y, width, height, score, category, truncation, occlusion
VISDRONE_CLASSES = ("pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle", "bus",
                    "motor")  # fmt: skip
VISDRONE_IGNORED = (0, 11)  # categories: ignored regions, and others
IGNORED = "DontCare"  # KITTI's regions with unlabelled objects


def is_kitti(line: str) -> bool:
    """Return whether a line has the form "Car 0.00 0 -1.57 614 181 727 284 ...", with a class that is not a number."""
    return _reads_as_kitti(line) and not _is_number(line.split(maxsplit=1)[0])


def is_dota(line: str) -> bool:
    """Return whether a line has eight numbers, a class that is not a number, and optionally a difficulty."""
    return _reads_as_dota(line) and not _is_number(line.split()[8])


def _reads_as_kitti(line: str) -> bool:
    fields = line.split()
    return len(fields) in KITTI_FIELDS and all(map(_is_number, fields[1:]))


def _reads_as_dota(line: str) -> bool:
    fields = line.split()
    if len(fields) not in DOTA_FIELDS or not all(map(_is_number, [*fields[:8], *fields[9:]])):
        return False
    return len(fields) == max(DOTA_FIELDS) or not _is_number(fields[8])  # nine numbers lack the class


def look_kitti(survey: Survey) -> Evidence | None:
    """Recognise text files with KITTI's fifteen fields."""
    files = _files(survey, is_kitti)
    return Evidence(Fit.MARKED, message("data.seen.kitti", "{files} .txt files of KITTI's fields", files=len(files))) \
        if files else None  # fmt: skip


def look_dota(survey: Survey) -> Evidence | None:
    """Recognise text files with DOTA's four corners and a class."""
    files = _files(survey, is_dota)
    return Evidence(Fit.MARKED, message("data.seen.dota", "{files} .txt files of DOTA's corners", files=len(files))) \
        if files else None  # fmt: skip


def is_visdrone(line: str) -> bool:
    """Return whether a line is eight integers, the fifth of them 0 or 1 and the sixth a category from 0 to 11."""
    found = _visdrone(line)
    return found is not None and found[4] in (0, 1) and 0 <= found[5] <= max(VISDRONE_IGNORED)


def _visdrone(line: str) -> list[int] | None:
    fields = [field.strip() for field in line.strip().rstrip(",").split(",")]
    if len(fields) != VISDRONE_FIELDS or not all(field.removeprefix("-").isdecimal() for field in fields):
        return None
    return [int(field) for field in fields]


def look_visdrone(survey: Survey) -> Evidence | None:
    """Recognise text files with VisDrone's eight fields."""
    files = _files(survey, is_visdrone)
    seen = message("data.seen.visdrone", "{files} .txt files of VisDrone's fields", files=len(files))
    return Evidence(Fit.MARKED, seen) if files else None


def open_visdrone(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and boxes; ignored regions and the category of other objects are skipped and counted."""
    survey = as_survey(path)
    wanted = wanted_task(survey.path, task, masks=False)
    reading = Reading(survey, config, "visdrone", VISDRONE_CLASSES)
    reading.box_form = "sized"
    ignored = 0
    for file in _files(survey, is_visdrone):
        one = reading.image(file.stem, file.relative, near=file.folder, split=split_of_path(file.folder))
        for number, line in enumerate(read_lines(file.path) if one is not None else (), 1):
            if not line.strip():
                continue
            fields = _visdrone(line)
            if fields is None or not 0 <= fields[5] <= max(VISDRONE_IGNORED):
                reading.skip(
                    f"{file.relative} line {number}",
                    message("data.problem.must_integers_got", "must be 8 integers, got {line!r}", line=line[:60]),
                )
                continue
            x, y, width, height, score, category, *_ = fields
            if category in VISDRONE_IGNORED:
                ignored += 1
                continue
            reading.entries += 1
            assert one is not None
            label, box = VISDRONE_CLASSES[category - 1], (x, y, x + width, y + height)
            reading.add(one, f"line {number}", label, box, ignore=score == 0)
    if ignored:
        reading.notes.append(
            message(
                "data.note.ignored_regions",
                "{count} ignored regions and other objects (categories 0 and 11) are not used",
                count=ignored,
            )
        )
    return reading.finish(wanted)


def open_kitti(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and boxes; DontCare regions are skipped and counted."""
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
            if not _reads_as_kitti(line):
                reading.skip(
                    f"{file.relative} line {number}",
                    message("data.problem.must_fields_got", "must have 15 fields, got {line!r}", line=line[:60]),
                )
                continue
            reading.entries += 1
            assert one is not None
            reading.add(one, f"line {number}", fields[0], [float(v) for v in fields[4:8]])
    if ignored:
        reading.notes.append(
            message("data.note.regions_not_used", "{count} {name} regions are not used", count=ignored, name=IGNORED)
        )
    return reading.finish(wanted)


def open_dota(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and bounding boxes of the corners of each object; difficult ones are ignored."""
    survey = as_survey(path)
    reading = Reading(survey, config, "dota")
    reading.notes.append(
        message("data.note.four_corners", "objects are given by four corners: their boxes enclose these")
    )
    for file in _files(survey, is_dota):
        one = reading.image(file.stem, file.relative, near=file.folder, split=split_of_path(file.folder))
        for number, line in enumerate(read_lines(file.path) if one is not None else (), 1):
            fields = line.split()
            if not fields or line.lower().startswith(("imagesource", "gsd")):
                continue
            if not _reads_as_dota(line):
                reading.skip(
                    f"{file.relative} line {number}",
                    message(
                        "data.problem.must_numbers_class_got",
                        "must be 8 numbers and a class, got {line!r}",
                        line=line[:60],
                    ),
                )
                continue
            reading.entries += 1
            outline = Polygons((np.array([float(v) for v in fields[:8]]).reshape(4, 2),))
            difficult = len(fields) > 9 and fields[9] not in ("0", "0.0")
            assert one is not None
            reading.add(one, f"line {number}", fields[8], box_of(outline), outline, ignore=difficult)
    return reading.finish(wanted_task(survey.path, task, masks=True))


def _files(survey: Survey, fits: Callable[[str], bool]) -> list[File]:
    """Find label files: all text files of folders in which most non-empty files have lines of this form.

    Other folders of the same name are folders of labels, too.
    """
    folders = {folder: [file for file in files if file.suffix == ".txt"] for folder, files in survey.by_folder.items()}
    found = [folder for folder, texts in folders.items() if _are_labels(survey, texts, fits)]
    names = {normal(folder[-1]) for folder in found if folder and normal(folder[-1]) in FOLDERS}
    return [
        file for folder, texts in folders.items() for file in texts
        if (folder in found or (folder and normal(folder[-1]) in names))
        and (normal(file.stem) in survey.image_stems or _may_be_labels(survey, file, names, fits))
    ]  # fmt: skip


def _may_be_labels(survey: Survey, file: File, names: set[str], fits: Callable[[str], bool]) -> bool:
    """Return whether a text file without image contains labels: lines of this form, or none in a folder of labels."""
    lines = _content(survey.lines(file))
    return any(map(fits, lines)) or (not lines and file.folder[-1:] != () and normal(file.folder[-1]) in names)


def _are_labels(survey: Survey, texts: Sequence[File], fits: Callable[[str], bool]) -> bool:
    named = [file for file in texts if normal(file.stem) in survey.image_stems]
    filled = [lines for file in sample(named) if (lines := _content(survey.lines(file)))]
    return bool(filled) and sum(any(map(fits, lines)) for lines in filled) > 0.5 * len(filled)


def _content(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if not line.lower().startswith(("imagesource", "gsd"))]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True

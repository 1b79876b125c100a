"""WIDER FACE: a text file per split with the name of an image, the number of its boxes, and a line for each of them.

A box is x, y, width, height, followed by flags; the fourth of six flags marks an invalid face, which is ignored. An
image without faces has the number 0 and a line of zeros.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from danlu.config import DataConfig
from danlu.data.dataset import UNASSIGNED, Dataset
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.image_file import IMAGE_SUFFIXES
from danlu.data.files.survey import File, Survey, as_survey
from danlu.data.files.text_files import read_lines
from danlu.data.sources.labelled_images.labelled import wanted_task
from danlu.data.sources.labelled_images.reading import Reading
from danlu.data.sources.tables.targets import Task
from danlu.data.sources.tables.text_tables import numbers
from danlu.data.split_names import split_of, split_of_path
from danlu.message import message
from danlu.refuse import Refusal, blame

FORM = "wider face"
INVALID = 7  # field of the flag of an invalid face


class _Image(NamedTuple):
    """An image and its lines of numbers. line: of its name, from 1. fault: reason why its lines cannot be read."""

    name: str
    line: int
    rows: list[tuple[int, str]]
    fault: str = ""


def look(survey: Survey) -> Evidence | None:
    """Recognise text files of images, counts and boxes."""
    files = _files(survey)
    if not files:
        return None
    text = "{file} lists images, the number of their boxes and the boxes (WIDER FACE)"
    return Evidence(Fit.MARKED, message("data.seen.wider_face", text, file=files[0].relative))


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and boxes of one class."""
    survey = as_survey(path)
    wanted = wanted_task(survey.path, task, masks=False)
    reading = Reading(survey, config, FORM)
    reading.box_form = "sized"
    for file in _files(survey):
        _read(file, reading)
    alone = len(survey.images) - len(reading.found) - len(reading.missing)
    if alone > 0:
        reading.notes.append(
            message(
                "data.note.images_list_boxes_read",
                "{alone} images are in no list of boxes and are not read",
                alone=alone,
            )
        )
    return reading.finish(wanted)


def _files(survey: Survey) -> list[File]:
    return [file for file in survey.of(".txt") if _is_list(survey.lines(file))]


def _is_list(lines: list[str]) -> bool:
    """Return whether the first lines are the name of an image, a count, and as many lines of numbers."""
    if len(lines) < 3 or not _is_image(lines[0]) or not lines[1].strip().isdecimal():
        return False
    rows = lines[2 : 2 + max(1, int(lines[1]))]
    good = sum(len(row.split()) >= 4 and numbers(row.split()) is not None for row in rows)
    return good > 0.5 * len(rows)


def _is_image(line: str) -> bool:
    return Path(line.strip()).suffix.lower() in IMAGE_SUFFIXES


def _read(file: File, reading: Reading) -> None:
    try:
        lines = read_lines(file.path)
    except UnicodeDecodeError:
        raise Refusal(
            message(
                "data.refuse.binary_boxes", "{path} must be a text file of boxes, got a binary file", path=file.path
            )
        ) from None
    except OSError as error:
        raise blame(error, str(file.path)) from None
    split = split_of(file.stem)
    split = split if split != UNASSIGNED else split_of_path(file.folder)
    label = "face" if "face" in file.name.lower() else "object"
    for name, line, rows, fault in _images(lines):
        where = f"{file.relative} line {line}"
        if fault:
            reading.skip(where, fault)
            continue
        one = reading.image(name, where, near=file.folder, split=split)
        for number, row in rows if one is not None else ():
            assert one is not None
            values = numbers(row.split())
            if values is None or len(values) < 4:
                reading.skip(
                    f"{file.relative} line {number}",
                    message(
                        "data.problem.must_numbers_least_got", "must be numbers, at least 4, got {row!r}", row=row[:60]
                    ),
                )
                continue
            reading.entries += 1
            x, y, width, height = values[:4].tolist()
            invalid = len(values) > INVALID and values[INVALID] == 1
            reading.add(one, f"line {number}", label, (x, y, x + width, y + height), ignore=bool(invalid))


def _images(lines: list[str]) -> Iterator[_Image]:
    """Split the lines at the names of images."""
    starts = [i for i, line in enumerate(lines) if _is_image(line)]
    for start, end in zip(starts, [*starts[1:], len(lines)]):
        rows = [(i + 1, lines[i]) for i in range(start + 1, end) if lines[i].strip()]
        count = rows[0][1].strip() if rows else ""
        name = lines[start].strip()
        if not count.isdecimal():
            yield _Image(name, start + 1, [], f"{name} must be followed by the number of its boxes, got {count[:60]!r}")
        elif int(count) == 0:
            yield _Image(name, start + 1, [])
        elif len(rows) - 1 != int(count):
            yield _Image(name, start + 1, [], f"{name} must have {count} lines of boxes, got {len(rows) - 1}")
        else:
            yield _Image(name, start + 1, rows[1:])

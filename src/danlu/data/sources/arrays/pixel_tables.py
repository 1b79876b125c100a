"""Tables with an image per row: a column per pixel (MNIST as csv), or all pixels in one text (FER2013)."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from danlu.config import DataConfig
from danlu.data.dataset import TRAIN, UNASSIGNED, Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, as_survey
from danlu.data.files.text_files import decode_guessed, read_bytes
from danlu.data.sources.labelled_images.reading import stop_if_many_bad
from danlu.data.sources.tables.split_columns import SPLIT_COLUMNS
from danlu.data.sources.tables.targets import Task, to_classes
from danlu.data.sources.tables.text_tables import numbers
from danlu.data.split_names import split_of
from danlu.message import message
from danlu.refuse import Refusal, one_of

PIXEL = re.compile(r"(?:pixel|pix|px|p)?_?\d+|\d+x\d+", re.I)  # names of the columns of pixels
LABELS = ("label", "class", "target", "y", "emotion", "digit", "letter")
MIN_PIXELS = 64  # images of 8 x 8; rows of fewer numbers are rows of a table
MAX_LOOKED = 8  # rows
MAX_LEVEL = 255


@dataclass(frozen=True)
class _Layout:
    """One table. label: its column, None without labels. text: the column of all pixels, or None. pixels: those of one
    each. split: the column of splits, or None. named: whether the first line is a header."""

    file: File
    header: tuple[str, ...]
    label: int | None
    text: int | None
    pixels: tuple[int, ...]
    split: int | None
    named: bool
    shape: tuple[int, int, int]  # height, width and channels


def look(survey: Survey) -> Evidence | None:
    """Recognise a table of pixels, or a folder of one per split."""
    found = _layouts(survey)
    if not found:
        return None
    values = {"file": found[0].file.relative, "height": found[0].shape[0], "width": found[0].shape[1]}
    text = "each row of {file} is an image of {height} x {width} pixels"
    return Evidence(Fit.MARKED, message("data.seen.pixel_table", text, **values))


class _Labelled(NamedTuple):
    """An image of one row: pixels uint8 (C, H, W), its label as text, split, and the file and line."""

    pixels: np.ndarray
    label: str
    split: int
    where: str


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read images as uint8 (N, C, H, W) and their labels. A table without labels is for prediction and not read."""
    survey = as_survey(path)
    notes: list[str] = []
    problems: list[Problem] = []
    found: list[_Labelled] = []
    for one in _layouts(survey):
        label = one.label if config.target is None else _column(one, config.target, survey)
        file = one.file.relative
        if label is None:
            text = "{file} has no labels: it is for prediction and not read"
            notes.append(message("data.note.no_labels", text, file=file))
            continue
        if not one.named:
            text = "{file} has no header: its column {number} is taken as the label"
            notes.append(message("data.note.no_header", text, file=file, number=label + 1))
        found += _labelled_rows(one, label, problems)
    images, labels, splits, names = zip(*found) if found else ((), (), (), ())
    stop_if_many_bad(survey.path, len(problems), len(problems) + len(images), problems, config)
    if not images:
        raise Refusal(message("data.refuse.no_pixel_table", "{path} has no labelled image", path=survey.path))
    values = numbers(labels)
    whole = values is not None and bool((values == np.round(values)).all())
    targets, classes = to_classes(np.array(values, np.int64) if whole else np.array(labels, dtype=object))
    given = torch.tensor(splits, dtype=torch.int8)
    return Dataset(
        path=str(survey.path),
        format="pixel table",
        task="classify",
        inputs=torch.from_numpy(np.stack(images)),
        targets=targets,
        classes=classes,
        given=given if TRAIN in splits and len(given.unique()) > 1 else None,
        name_of=lambda i: names[i],
        problems=problems,
        notes=notes,
    )


def _labelled_rows(one: _Layout, label: int, problems: list[Problem]) -> Iterator[_Labelled]:
    """The images of a table with their labels; rows that hold no image are added to `problems`."""
    for line, row in enumerate(_rows(one.file.path), 1):
        if (one.named and line == 1) or not row:
            continue
        where = f"{one.file.relative} line {line}"
        fault, pixels = _image(one, row, label)
        if pixels is None:
            problems.append(Problem(where, fault))
        else:
            yield _Labelled(pixels, row[label].strip(), _split(one, row), where)


def _layouts(survey: Survey) -> list[_Layout]:
    """The tables of pixels; none where two are of one split, since they may be different data sets."""
    if survey.images:
        return []
    if "pixel tables" not in survey.memo:
        found = [one for file in survey.of(".csv") if (one := _layout(file)) is not None]
        split = [split_of(one.file.stem) for one in found]
        shapes = {one.shape for one in found}
        survey.memo["pixel tables"] = found if len(set(split)) == len(split) and len(shapes) == 1 else []
    return survey.memo["pixel tables"]


def _layout(file: File) -> _Layout | None:
    try:
        rows = list(islice(_rows(file.path), MAX_LOOKED + 1))
    except (OSError, csv.Error):
        return None
    if len(rows) < 2:
        return None
    header = tuple(name.strip() for name in rows[0])
    text, shape = _column_of_texts(rows[1:])
    if text is not None:
        pixels, named = (), True
    else:
        pixels = tuple(i for i, name in enumerate(header) if PIXEL.fullmatch(name))
        named = len(pixels) < len(header) or numbers(header) is None
        if not named:
            label = _label_without_header(file)
            pixels = tuple(i for i in pixels if i != label % len(header)) if label is not None else ()
        elif len(set(header)) < len(header):
            return None
        shape = _shape(len(pixels))
    others = [i for i in range(len(header)) if i != text and i not in pixels]
    if shape is None or len(others) > 2:
        return None
    split = next((i for i in others if header[i].lower() in SPLIT_COLUMNS), None)
    left = [i for i in others if i != split]
    known = [i for i in left if header[i].lower() in LABELS or not named]
    fitting = [row for row in rows[1:] if text is not None or _are_levels([row[i] for i in pixels if i < len(row)])]
    if 2 * len(fitting) <= len(rows[1:]):
        return None
    return _Layout(file, header, next(iter(known or left), None), text, pixels, split, named, shape)


def _label_without_header(file: File) -> int | None:
    """The column of labels of a table without a header: the first or the last (-1), if the other is a constant pixel at
    the border of all images."""
    first, last = set[str](), set[str]()
    for row in _rows(file.path):
        if row:
            first.add(row[0].strip())
            last.add(row[-1].strip())
    if (len(first) > 1) == (len(last) > 1):
        return None
    return 0 if len(first) > 1 else -1


def _rows(path: Path) -> Any:
    """The rows of a table, one after another."""
    content, _ = decode_guessed(read_bytes(path))
    csv.field_size_limit(max(csv.field_size_limit(), 1 << 24))
    return csv.reader(io.StringIO(content), skipinitialspace=True)


def _column_of_texts(rows: Sequence[Sequence[str]]) -> tuple[int | None, tuple[int, int, int] | None]:
    """The column in which most values are all pixels of an image, and the shape of the images."""
    for i in range(len(rows[0])):
        cells = [row[i].split() for row in rows if i < len(row)]
        shapes = [shape for words in cells if (shape := _shape(len(words))) and _are_levels(words)]
        shape = max(set(shapes), key=shapes.count, default=None)
        if shape is not None and 2 * shapes.count(shape) > len(rows):
            return i, shape
    return None, None


def _are_levels(words: Sequence[str]) -> bool:
    found = numbers(words)
    return found is not None and bool(((found >= 0) & (found <= MAX_LEVEL) & (found == np.round(found))).all())


def _shape(count: int) -> tuple[int, int, int] | None:
    """Height, width and channels of a square image of `count` values, None if there is no such image."""
    for channels in (1, 3):
        side = math.isqrt(count // channels)
        if side * side * channels == count >= MIN_PIXELS * channels:
            return side, side, channels
    return None


def _image(one: _Layout, row: Sequence[str], label: int) -> tuple[str, np.ndarray | None]:
    """Why a row is no image, or its pixels, uint8 (C, H, W)."""
    if len(row) != len(one.header):
        return f"{len(row)} fields instead of {len(one.header)}", None
    if not row[label].strip():
        return "no label", None
    words = row[one.text].split() if one.text is not None else [row[i] for i in one.pixels]
    if len(words) != math.prod(one.shape) or not _are_levels(words):
        return f"not {math.prod(one.shape)} integers from 0 to {MAX_LEVEL}", None
    return "", np.array(words, np.float32).astype(np.uint8).reshape(one.shape).transpose(2, 0, 1)


def _column(one: _Layout, target: str, survey: Survey) -> int | None:
    wanted = message("data.wanted.labelled_csv_column", "a column of {path}", path=survey.path)
    if one.label is None and target not in one.header:
        return None
    names = [name for i, name in enumerate(one.header) if i not in one.pixels]
    return one.header.index(one_of("--target", target, names, wanted))


def _split(one: _Layout, row: Sequence[str]) -> int:
    own = UNASSIGNED if one.split is None else split_of(row[one.split])
    return own if own != UNASSIGNED else split_of(one.file.stem)

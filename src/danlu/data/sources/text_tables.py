"""Tables of text files: csv and tsv with a header, and lists of an image and its label in each line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from danlu.data.survey import File
from danlu.data.text_files import decode_guessed, read_bytes

MAX_LOOKED = 200  # rows by which the content of a table is recognised
LISTED = re.compile(r"(.+?\.(?:jpe?g|png|bmp|tiff?|webp|gif|ppm))(?:[\s,;]+(\S.*))?$", re.I)  # image and its label
LISTED_BOX = re.compile(r"-?[\d.]+(,-?[\d.]+){3},\d+$")  # Keras-YOLO's box: four numbers and the class


class Table(NamedTuple):
    """Rows of text. lines: of each row. ragged: lines with another number of fields than the header. encoding: where it
    was guessed."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    ragged: tuple[int, ...] = ()
    encoding: str = ""


def is_list(lines: Sequence[str]) -> bool:
    """Return whether the first lines of a text file are an image each, and some a label or boxes behind it."""
    found = [LISTED.match(line.strip()) for line in lines[:MAX_LOOKED]]
    return bool(found) and all(found) and any(one.group(2) for one in found if one)


def read_list(file: File) -> Table | None:
    """A text file with an image and its label in each line, or an image and boxes "x1,y1,x2,y2,class"; as `read_table`.

    None for other text files, also for lists of images alone.
    """
    try:
        text, encoding = decode_guessed(read_bytes(file.path))
    except OSError:
        return None
    if encoding and "\0" in text:
        return None
    rows: list[tuple[str, ...]] = []
    lines: list[int] = []
    boxes = None
    for number, line in enumerate(text.splitlines(), 1):
        found = LISTED.match(line.strip())
        if found is None:
            if line.strip():
                return None
            continue
        name, rest = found.group(1), (found.group(2) or "").split()
        its_boxes = bool(rest) and all(LISTED_BOX.match(word) for word in rest)
        boxes = its_boxes if boxes is None and rest else boxes
        if rest and (its_boxes != boxes or (not boxes and len(rest) > 1)):
            return None
        own = [tuple(word.split(",")) for word in rest] if boxes else [tuple(rest)]
        for values in own or [("",) * 5]:
            rows.append((name, *values))
            lines.append(number)
    if boxes is None or (not boxes and not all(len(row) == 2 for row in rows)):
        return None
    header = ("image", "x1", "y1", "x2", "y2", "label") if boxes else ("image", "label")
    return Table(header, tuple(rows), tuple(lines), encoding=encoding)


def read_table(file: File) -> Table | None:
    """A csv or tsv file; None if it is no table of text."""
    try:
        data = read_bytes(file.path)
    except OSError:
        return None  # the reader of tables names it
    text, encoding = decode_guessed(data)
    first = text.lstrip().split("\n", 1)[0]
    separator = "\t" if file.suffix == ".tsv" else max(",;\t", key=first.count)
    rows, lines, ragged = [], [], []
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    header: tuple[str, ...] = ()
    try:
        for row in reader:
            if not header:
                header = tuple(row)
            elif len(row) >= len(header) and not any(field.strip() for field in row[len(header) :]):
                rows.append(tuple(row[: len(header)]))
                lines.append(reader.line_num)
            elif any(field.strip() for field in row):
                ragged.append(reader.line_num)
    except csv.Error:
        return None
    found = Table(header, tuple(rows), tuple(lines), tuple(ragged), encoding)
    return found if header and (rows or len(header) > 1) else None


def numbers(words: Iterable[str]) -> np.ndarray | None:
    """Words as float64 (N,), None if one is no finite number."""
    try:
        found = np.array([float(word) for word in words])
    except ValueError:
        return None
    return found if np.isfinite(found).all() else None

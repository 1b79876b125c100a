"""Tables of text files: csv and tsv with a header, and lists of an image and its label in each line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from danlu.data.files.survey import File
from danlu.data.files.text_files import decode_guessed, read_bytes

MIN_ROWS = 5  # fewer rows do not tell whether the first one is like them
MAX_LOOKED = 200  # rows by which the content of a table is recognised
LISTED = re.compile(r"(.+?\.(?:jpe?g|png|bmp|tiff?|webp|gif|ppm))(?:[\s,;]+(\S.*))?$", re.I)  # image and its label
FIELDS = re.compile(r"[,;\t|]")
SEPARATOR_LINE = re.compile(r"\A\ufeff?\"?sep=[^\n]{0,3}?(?=\r?\n)", re.I)
DECIMAL_COMMA = re.compile(r"-?\d+,\d+")
LISTED_BOX = re.compile(r"-?[\d.]+([,;]-?[\d.]+){3}[,;][^,;]+$")  # Keras-YOLO's box: four numbers and the class


class Table(NamedTuple):
    """Rows of text. lines: of each row. ragged: lines with another number of fields than the header. encoding: where it
    was guessed. separator: of the fields."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    ragged: tuple[int, ...] = ()
    encoding: str = ""
    separator: str = ""


def is_list(lines: Sequence[str]) -> bool:
    """Return whether the first lines of a text file are an image each, and some a label or boxes behind it."""
    found = [LISTED.match(line.strip()) for line in lines[:MAX_LOOKED]]
    behind = [one.group(2) for one in found if one and one.group(2)]
    pairs = all(LISTED.match(text) for text in behind)  # an image and its mask, as of CamVid
    return bool(found) and all(found) and bool(behind) and not pairs


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
        own = [tuple(re.split("[,;]", word)) for word in rest] if boxes else [tuple(rest)]
        for values in own or [("",) * 5]:
            rows.append((name, *values))
            lines.append(number)
    if boxes is None or (not boxes and not all(len(row) == 2 for row in rows)):
        return None
    header = ("image", "x1", "y1", "x2", "y2", "label") if boxes else ("image", "label")
    return Table(header, tuple(rows), tuple(lines), encoding=encoding)


def is_attributes(lines: Sequence[str]) -> bool:
    """Return whether the first lines of a text file are CelebA's: the number of images, the attributes, and rows."""
    if len(lines) < 3 or not lines[0].strip().isdecimal():
        return False
    names, first = lines[1].split(), lines[2].split()
    return len(first) == len(names) + 1 and set(first[1:]) <= {"-1", "0", "1"} and LISTED.match(first[0]) is not None


def read_attributes(file: File) -> Table | None:
    """CelebA's list of attributes: a column of images and one of -1 and 1 per attribute; None for another file."""
    try:
        text, encoding = decode_guessed(read_bytes(file.path))
    except OSError:
        return None
    lines = text.splitlines()
    if not is_attributes(lines[:3]):
        return None
    header = ("image", *lines[1].split())
    rows = [(number, tuple(line.split())) for number, line in enumerate(lines[2:], 3)]
    good = [(number, row) for number, row in rows if len(row) == len(header)]
    ragged = tuple(number for number, row in rows if row and len(row) != len(header))
    return Table(header, tuple(row for _, row in good), tuple(number for number, _ in good), ragged, encoding)


def is_table(lines: Sequence[str], names: Collection[str]) -> bool:
    """Return whether the first lines are a header with one of the names of columns, and rows of as many fields."""
    header = [name.strip(" \"'\ufeff").lower() for name in FIELDS.split(lines[0])] if lines else []
    named = len(header) > 1 and any(name in names for name in header)
    return named and len(lines) > 1 and all(len(FIELDS.split(one)) >= len(header) for one in lines[1:5] if one.strip())


def read_table(file: File) -> Table | None:
    """A csv or tsv file; None if it is no table of text."""
    try:
        data = read_bytes(file.path)
    except OSError:
        return None  # the reader of tables names it
    text, encoding = decode_guessed(data)
    text = table_text(text)
    first = text.lstrip().split("\n", 1)[0]
    separator = "\t" if file.suffix == ".tsv" else max(",;\t|", key=first.count)
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
    found = Table(header, tuple(rows), tuple(lines), tuple(ragged), encoding, separator)
    return found if header and (rows or len(header) > 1) else None


def table_text(text: str) -> str:
    """The text of a table with "\\n" at the end of lines, and an empty first line instead of Excel's "sep=;"."""
    alone = text.count("\r") - text.count("\r\n")
    if alone > text.count("\n"):  # of the first Macintosh, perhaps but for the last line
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return SEPARATOR_LINE.sub("", text, count=1)


def lacks_names(rows: Sequence[Sequence[str]], missing: Collection[str]) -> bool:
    """Return whether the first row of a table holds values like the others, and no names of columns.

    Numbers stand over numbers and words that recur over words; integers that rise, as years, are names. missing:
    words that stand for a missing number.
    """
    first, *others = rows
    looked = [row for row in others[:MAX_LOOKED] if len(row) == len(first)]
    if len(looked) < MIN_ROWS or len(first) < 2:
        return False
    figures, words = [], 0
    for name, *column in zip(*([cell.strip() for cell in row] for row in (first, *looked))):
        filled = [cell for cell in column if cell and cell.lower() not in missing]
        if not filled or not name or name.lower() in missing:
            continue
        if numbers(filled) is not None:
            if numbers((name,)) is None:
                return False
            figures.append(name)
        elif name in filled:
            words += 1
        elif 2 * len(set(filled)) <= len(filled):
            return False  # of texts that recur, but for this one
    rising = all(name.isdecimal() for name in figures) and all(int(a) < int(b) for a, b in pairwise(figures))
    return words > 0 if rising else True


def with_decimal_points(words: Sequence[str], separator: str) -> list[str] | None:
    """Numbers such as "3,5" with a point instead of the comma, where commas separate neither fields nor all values.

    None unless each word is a number and one has such a comma. separator: of the fields of the table.
    """
    found = [word.replace(",", ".") if DECIMAL_COMMA.fullmatch(word) else word for word in words]
    changed = separator != "," and found != list(words)
    return found if changed and numbers(word for word in found if word) is not None else None


def numbers(words: Iterable[str]) -> np.ndarray | None:
    """Words as float64 (N,), None if one is no finite number."""
    try:
        found = np.array([float(word) for word in words])
    except ValueError:
        return None
    return found if np.isfinite(found).all() else None

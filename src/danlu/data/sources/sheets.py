"""csv files that name images: their tables, and the meaning of the columns by name and value."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from danlu.data.dataset import TRAIN, UNASSIGNED
from danlu.data.image_file import IMAGE_SUFFIXES
from danlu.data.image_index import ImageIndex, name_parts
from danlu.data.split_names import split_of, split_of_path
from danlu.data.survey import File, Survey, normal, survey
from danlu.data.text_files import decode_text

IMAGE_COLUMNS = (
    "filename",
    "file_name",
    "image",
    "image_name",
    "image_path",
    "img_path",
    "imageid",
    "image_id",
    "path",
)
IMAGE_COLUMNS += (
    "filepath",
    "file_path",
    "img",
    "file",
    "picture",
    "photo",
    "id_code",
    "id",
    "name",
    "fname",
    "images",
)
CLASS_COLUMNS = ("class", "label", "labelname", "class_name", "classname", "label_name", "category", "category_name")
CLASS_COLUMNS += ("name", "target", "object", "labels", "classes", "species", "breed", "diagnosis", "tag", "y")
BOXES = (  # column names of a box -> whether the last two are width and height
    (("xmin", "ymin", "xmax", "ymax"), False),
    (("x_min", "y_min", "x_max", "y_max"), False),
    (("x1", "y1", "x2", "y2"), False),
    (("left", "top", "right", "bottom"), False),
    (("bbox_x", "bbox_y", "bbox_width", "bbox_height"), True),
    (("x", "y", "w", "h"), True),
    (("x", "y", "width", "height"), True),
    (("xmin", "ymin", "width", "height"), True),
)
BOX_COLUMN = ("bbox", "box", "bounding_box")
SIZE_COLUMNS = (("height", "width"), ("image_height", "image_width"), ("h", "w"), ("img_height", "img_width"))
SUBMISSION = "submission"  # in the name of Kaggle's example of an answer, whose labels are made up
ENDINGS = (".csv", ".tsv")
STRONG_COLUMNS = set(IMAGE_COLUMNS) - {"id", "name", "path", "file", "fname", "images"}  # hardly in other tables
USUAL_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".bmp", ".webp")
ANNOTATION_FOLDERS = ("data", "annotations", "annotation", "labels", "label", "csv", "meta", "metadata")
MAX_SHEETS = 100  # csv files that are looked into
MAX_LOOKED = 200  # rows whose images are looked for


@dataclass(frozen=True)
class Sheet:
    """One csv file. header: lower-case column names. kind: "boxes", "images", "classes" or "" for a plain table.

    image, label: their columns. box: four columns, or one that holds all four numbers. sized: width and height are
    given instead of the far corner. columns: of a label per class.
    """

    file: File
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    kind: str
    image: int = 0
    label: int | None = None
    box: tuple[int, ...] = ()
    sized: bool = False
    columns: tuple[int, ...] = ()
    found: float = 0.0  # fraction of the named images that are there
    ragged: tuple[int, ...] = ()  # lines with another number of fields than the header

    @property
    def split(self) -> int:
        own = split_of(self.file.stem)
        return own if own != UNASSIGNED else split_of_path(self.file.folder)


def sheets_of(data: Survey, kind: str) -> list[Sheet]:
    """Sheets of one kind; of files that repeat one another those that name splits, as train.csv beside all.csv."""
    sheets = [sheet for sheet in sheets_in(data) if sheet.kind == kind]
    with_images = [sheet for sheet in sheets if sheet.found] or sheets
    split = [sheet for sheet in with_images if sheet.split != UNASSIGNED]
    if TRAIN in {sheet.split for sheet in split} and len(split) < len(with_images):
        return split
    return with_images


def sheets_in(data: Survey) -> list[Sheet]:
    if "sheets" not in data.memo:
        files = [file for file in data.files if file.suffix in ENDINGS and SUBMISSION not in file.name.lower()]
        files = [file for file in files if _may_name_images(data.lines(file), data)] if len(files) <= MAX_SHEETS else []
        index = ImageIndex.of(surroundings(data)) if files else None
        found = [_sheet(file, index) for file in files if index is not None]
        sheets = [sheet for sheet in found if sheet is not None]
        data.memo["sheets"] = [_like_others(sheet, sheets, index) for sheet in sheets if index is not None]
    return data.memo["sheets"]


def _like_others(sheet: Sheet, sheets: Sequence[Sheet], index: ImageIndex) -> Sheet:
    """A sheet of no kind, as one with the same columns whose images were found, as the csv of another split."""
    header = [name.lower() for name in sheet.header]
    for other in sheets if not sheet.kind else ():
        if other.kind and other.found and [name.lower() for name in other.header] == header:
            own = replace(other, file=sheet.file, rows=sheet.rows, lines=sheet.lines, ragged=sheet.ragged)
            return replace(own, found=_found(own, index))
    return sheet


def _may_name_images(lines: Sequence[str], data: Survey) -> bool:
    """Whether a table may have a column of images: by the header, or by an image's extension in its first lines."""
    header = {name.strip(" \"'\ufeff").lower() for name in re.split(r"[,;\t]", lines[0])} if lines else set()
    named = header & (set(IMAGE_COLUMNS) if data.images else STRONG_COLUMNS)
    return bool(named) or any(suffix in line.lower() for line in lines[:MAX_LOOKED] for suffix in USUAL_SUFFIXES)


def surroundings(data: Survey) -> Survey:
    """The survey in which images are looked for: of a csv file, its folder, or that above a folder of annotations."""
    if not data.is_file:
        return data
    if "around" not in data.memo:
        found = survey(data.root, partly=True)
        if not found.images and normal(data.root.name) in ANNOTATION_FOLDERS:
            found = survey(data.root.parent, partly=True)
        data.memo["around"] = Survey(data.path, found.root, found.files, found.folders, found.links)
    return data.memo["around"]


def _sheet(file: File, index: ImageIndex) -> Sheet | None:
    read = _read(file)
    if read is None:
        return None
    header, rows, lines, ragged = read
    lower = tuple(name.strip().lower() for name in header)
    plain = Sheet(file, tuple(name.strip() for name in header), rows, lines, "", ragged=ragged)
    if _is_headerless(header):
        names = ("image", "x1", "y1", "x2", "y2", "label")
        sheet = Sheet(file, names, (tuple(header), *rows), (1, *lines), "boxes", 0, 5, (1, 2, 3, 4))
        return replace(sheet, found=_found(sheet, index))
    image = _image_column(lower, plain, index)
    if image is None:
        return plain
    sheet = replace(plain, image=image)
    sheet = replace(sheet, found=_found(sheet, index))
    return _with_boxes(sheet, lower) or _with_labels(sheet, lower)


def _with_boxes(sheet: Sheet, lower: tuple[str, ...]) -> Sheet | None:
    """The sheet with the columns of its boxes; None where it has none."""
    named = [lower.index(name) for name in CLASS_COLUMNS if name in lower and lower.index(name) != sheet.image]
    sheet = replace(sheet, kind="boxes", header=lower, label=named[0] if named else None)
    for names, sized in BOXES:
        if set(names) <= set(lower):
            return replace(sheet, box=tuple(lower.index(name) for name in names), sized=sized)
    box = [lower.index(name) for name in BOX_COLUMN if name in lower]
    return replace(sheet, box=(box[0],), sized=True) if box else None


def _with_labels(sheet: Sheet, lower: tuple[str, ...]) -> Sheet:
    """The sheet with its column of labels, or its column per class."""
    others = tuple(i for i in range(len(lower)) if i != sheet.image)
    named = [lower.index(name) for name in CLASS_COLUMNS if name in lower and lower.index(name) != sheet.image]
    if len(others) >= 2 and all(row[i].strip() in ("0", "1", "0.0", "1.0") for row in sheet.rows for i in others):
        return replace(sheet, kind="classes", columns=others)
    if not sheet.found and not names_images(sheet):
        return replace(sheet, image=0)  # a column called "name" or "id" of a plain table
    if not others:
        return replace(sheet, kind="unlabelled")
    label = named[0] if named else others[0] if len(others) == 1 else None
    return replace(sheet, kind="images", label=label) if label is not None else replace(sheet, image=0)


def names_images(sheet: Sheet) -> bool:
    """Whether most values of the column of images end like image files."""
    looked = sheet.rows[:MAX_LOOKED]
    named = sum(Path(parts[-1]).suffix.lower() in IMAGE_SUFFIXES for row in looked
                if (parts := name_parts(row[sheet.image])))  # fmt: skip
    return named > 0.5 * len(looked)


def _is_headerless(header: Sequence[str]) -> bool:
    """Keras-RetinaNet's csv: path, x1, y1, x2, y2, class."""
    if len(header) != 6 or Path(header[0]).suffix.lower() not in IMAGE_SUFFIXES:
        return False
    return numbers(header[1:5]) is not None


def _image_column(lower: tuple[str, ...], sheet: Sheet, index: ImageIndex) -> int | None:
    """The column whose values are called like images."""
    order = sorted(range(len(lower)), key=lambda i: IMAGE_COLUMNS.index(lower[i]) if lower[i] in IMAGE_COLUMNS else 99)
    for i in order:
        own = replace(sheet, image=i)
        if names_images(own):
            return i
        if lower[i] in IMAGE_COLUMNS and _found(own, index) > 0.5:
            return i
    has_box = any(set(names) <= set(lower) for names, _ in BOXES)
    return next((i for i in order if lower[i] in IMAGE_COLUMNS), None) if has_box else None


def _found(sheet: Sheet, index: ImageIndex) -> float:
    """Fraction of the first rows whose image is there."""
    looked = sheet.rows[:MAX_LOOKED]
    if not looked:
        return 0.0
    names = [row[sheet.image] for row in looked]
    return sum(not isinstance(index.find(name, sheet.file.folder, sheet.split), str) for name in names) / len(names)


def _read(
    file: File,
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], tuple[int, ...], tuple[int, ...]] | None:
    """Header, rows as long as it, their lines, and lines of other rows; None where the file is no table of text."""
    try:
        data = file.path.read_bytes()
    except OSError:
        return None  # the reader of tables names it
    try:
        text = decode_text(data)
    except UnicodeDecodeError:
        text = data.decode("latin-1")
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
    return (header, tuple(rows), tuple(lines), tuple(ragged)) if header and (rows or len(header) > 1) else None


def numbers(words: Iterable[str]) -> np.ndarray | None:
    """Words as float64 (N,), None where one is no finite number."""
    try:
        found = np.array([float(word) for word in words])
    except ValueError:
        return None
    return found if np.isfinite(found).all() else None

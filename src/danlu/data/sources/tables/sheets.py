"""Tables that name images: the meaning of their columns by name and value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from danlu.data.dataset import TEST, TRAIN, UNASSIGNED, Problem
from danlu.data.files.image_file import IMAGE_SUFFIXES
from danlu.data.files.survey import File, Survey, normal, surroundings
from danlu.data.image_index import AMBIGUOUS, ImageIndex, name_parts
from danlu.data.sources.labelled_images.box_forms import BoxForm
from danlu.data.sources.tables.box_columns import BOX_COLUMN, GEOMETRY, MAKE_SENSE, MIN_GEOMETRY, box_columns, plain
from danlu.data.sources.tables.label_columns import (
    MASK_COLUMN,
    PLAIN_NAMES,
    TEXT_COLUMNS,
    are_equal_rivals,
    further_images,
    label_column,
    rivals,
)
from danlu.data.sources.tables.outline_columns import are_outlines
from danlu.data.sources.tables.run_length_columns import are_runs
from danlu.data.sources.tables.split_columns import split_column, split_of_value
from danlu.data.sources.tables.text_tables import (
    MAX_LOOKED,
    is_attributes,
    is_list,
    is_table,
    numbers,
    read_attributes,
    read_list,
    read_table,
)
from danlu.data.split_names import WORD, split_of, split_of_path
from danlu.message import message

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
HOT = ("0", "1", "0.0", "1.0", "true", "false")  # values in the column of one class
SIZE_COLUMNS = (("height", "width"), ("image_height", "image_width"), ("h", "w"), ("img_height", "img_width"))
LIST_WORDS = {"label", "labels", "list", "annotation", "annotations", "classes", "gt"}  # in names of lists of labels
TEXT_OF_BOXES = re.compile(r"(?:[^\s\d]\S*(?: -?[\d.]+){4}(?: |$))|(?:-?[\d.]+(?: -?[\d.]+){3};)")
NO_LABEL_WORDS = {"partition", "split", "splits", "subset", "fold", "folds"}  # of columns and lists, never labels
AUTOML_SPLITS = {"TRAIN", "TRAINING", "VALIDATE", "VALIDATION", "TEST", "UNASSIGNED"}
SUBMISSION = "submission"  # in the name of Kaggle's example of an answer, whose labels are made up
ENDINGS = (".csv", ".tsv", ".txt")
STRONG_COLUMNS = set(IMAGE_COLUMNS) - {"id", "name", "path", "file", "fname", "images"}  # hardly in other tables
USUAL_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".bmp", ".webp", ".ppm", ".pgm", ".gif")
MAX_SHEETS = 100  # csv files that are looked into
MAX_DAMAGED = 0.2  # fraction of rows without four numbers in a file of boxes without a header
MOST_IMAGES = 0.5  # of them, and of the values, that a column names whose name is not known as one of images


@dataclass(frozen=True)
class Sheet:
    """One csv file. header: lower-case column names. kind: "boxes", "images", "classes", "unlabelled", "unread" (boxes
    in an unknown form), "runs" (of masks), "unclear" (no column has the name of a label), or "" for a plain table.

    image, label: their columns. box: four columns, or one that holds all four numbers. form: of these numbers,
    "corners", "sized" (width and height instead of the far corner) or "centred". columns: of a label per class, or that
    of the run lengths. outline: that of the corners of each object. split_column: that of the split of each row.
    """

    file: File
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    kind: str
    image: int = 0
    label: int | None = None
    box: tuple[int, ...] = ()
    outline: int | None = None
    form: BoxForm = "corners"
    columns: tuple[int, ...] = ()
    split_column: int | None = None
    found: float = 0.0  # fraction of the named images that are there
    ragged: tuple[int, ...] = ()  # lines with another number of fields than the header
    encoding: str = ""  # where it was guessed
    separator: str = ""  # of its fields
    rivals: tuple[str, ...] = ()  # columns that are called like labels, too, and are not read
    further: tuple[str, ...] = ()  # columns that name other images than `image`

    @property
    def split(self) -> int:
        """Split that the name of the file or of its folder says, or UNASSIGNED."""
        own = split_of(self.file.stem)
        return own if own != UNASSIGNED else split_of_path(self.file.folder)

    def split_of_row(self, row: Sequence[str]) -> int:
        """The split that a row names, else that of the file."""
        own = UNASSIGNED
        if self.split_column is not None:
            own = split_of_value(self.header[self.split_column], row[self.split_column])
        return own if own != UNASSIGNED else self.split


def sheets_of(data: Survey, kind: str) -> list[Sheet]:
    """Sheets of one kind; of files that repeat one another those that name splits, as train.csv beside all.csv."""
    sheets = [sheet for sheet in sheets_in(data) if sheet.kind == kind]
    with_images = [sheet for sheet in sheets if sheet.found] or sheets
    split = [sheet for sheet in with_images if sheet.split != UNASSIGNED]
    if TRAIN in {sheet.split for sheet in split} and len(split) < len(with_images):
        return split
    return with_images


def without_images(data: Survey, kind: str) -> list[Problem]:
    """Sheets that `sheets_of` leaves out: none of their images is there, or their columns are of another kind."""
    sheets = [sheet for sheet in sheets_in(data) if sheet.kind == kind]
    left = [sheet for sheet in sheets if not sheet.found] if any(sheet.found for sheet in sheets) else []
    names = {sheet: ", ".join(dict.fromkeys(row[sheet.image] for row in sheet.rows[:3])) for sheet in left}
    others = [sheet for sheet in sheets_in(data) if sheet.kind in {"unread", "unclear"} - {kind} and sheet.found]
    absent = message("data.problem.none_images_there", "none of its images is there")
    unread = "names images, but its columns are no {kind}: {listed}"
    return [
        *(Problem(f"{one.file.relative} ({name} ...)", absent) for one, name in names.items()),
        *(Problem(one.file.relative, message("data.problem.names_images_but_columns", unread, kind=kind,
                                             listed=", ".join(one.header)[:200])) for one in others),
    ]  # fmt: skip


def sheets_in(data: Survey) -> list[Sheet]:
    """Tables, lists and attribute files among the data that name its images, found once per survey."""
    if "sheets" not in data.memo:
        files = [file for file in data.files if file.suffix in ENDINGS and SUBMISSION not in file.name.lower()]
        texts = [file for file in data.of(".txt") if normal(file.stem) not in data.image_stems
                 and not {word.lower() for word in WORD.findall(file.stem)} & NO_LABEL_WORDS]  # fmt: skip
        files = [file for file in files if file.suffix != ".txt"]
        texts = texts if len(texts) <= MAX_SHEETS else []
        tables = [file for file in texts if is_table(data.lines(file), STRONG_COLUMNS)]
        texts = [file for file in texts if data.is_file or split_of(file.stem) != UNASSIGNED or _names_labels(file)]
        files += [file for file in texts if is_list(data.lines(file)) or is_attributes(data.lines(file))]
        files += [file for file in tables if file not in files]
        files = [file for file in files if _may_name_images(data.lines(file), data)] if len(files) <= MAX_SHEETS else []
        index = ImageIndex.of(surroundings(data)) if files else None
        found = [_sheet(file, index) for file in files if index is not None]
        sheets = [sheet for sheet in found if sheet is not None]
        sheets = [_like_others(sheet, sheets, index) for sheet in sheets if index is not None]
        data.memo["sheets"] = [replace(one, kind="unlabelled") if _lacks_labels(one, sheets) else one for one in sheets]
    return data.memo["sheets"]


def _like_others(sheet: Sheet, sheets: Sequence[Sheet], index: ImageIndex) -> Sheet:
    """A sheet of no kind, as one with the same columns whose images were found, as the csv of another split."""
    header = [name.lower() for name in sheet.header]
    for other in sheets if not sheet.kind else ():
        if other.kind and other.found and [name.lower() for name in other.header] == header:
            own = replace(
                other, file=sheet.file, rows=sheet.rows, lines=sheet.lines, ragged=sheet.ragged, encoding=sheet.encoding
            )
            return replace(own, found=_found(own, index))
    return sheet


def _lacks_labels(sheet: Sheet, sheets: Sequence[Sheet]) -> bool:
    """Return whether a sheet of test images has the columns of another one without that of the labels."""
    if sheet.kind not in ("images", "classes", "unclear") or sheet.split != TEST:
        return False
    own = {name.lower() for name in sheet.header}
    others = [one for one in sheets if one.kind in ("images", "unclear") and one.split in (TRAIN, UNASSIGNED)]
    return any(
        own < {name.lower() for name in one.header} and (one.label is None or one.header[one.label].lower() not in own)
        for one in others
    )


def _may_name_images(lines: Sequence[str], data: Survey) -> bool:
    """Return whether a table may have a column of images, by its header or an image's extension in its first lines."""
    header = {name.strip(" \"'\ufeff").lower() for name in re.split(r"[,;\t|]", lines[0])} if lines else set()
    named = header & (set(IMAGE_COLUMNS) if data.images else STRONG_COLUMNS)
    cells = {normal(cell.strip(" \"'")) for line in lines[1:MAX_LOOKED] for cell in re.split(r"[,;\t|]", line)}
    return (
        bool(named)
        or bool(cells & data.image_stems.keys())
        or any(suffix in line.lower() for line in lines[:MAX_LOOKED] for suffix in USUAL_SUFFIXES)
    )


def _names_labels(file: File) -> bool:
    """Return whether a text file has the name of a list of labels, and not of identities or other attributes."""
    return bool({word.lower() for word in WORD.findall(file.stem)} & LIST_WORDS)


def _sheet(file: File, index: ImageIndex) -> Sheet | None:
    read = (read_list(file) or read_attributes(file)) if file.suffix == ".txt" else None
    read = read or read_table(file)
    if read is None:
        return None
    header, rows, lines = read.header, read.rows, read.lines
    if (image := _image_in_header(header, rows, index)) is not None:
        header, rows, lines = _named_columns(header, rows, image), (tuple(header), *rows), (1, *lines)
    lower = tuple(name.strip().lower() for name in header)
    bare = Sheet(
        file, tuple(name.strip() for name in header), rows, lines, "", ragged=read.ragged, encoding=read.encoding,
        separator=read.separator,
    )  # fmt: skip
    bare = replace(bare, split_column=split_column(lower, rows))
    image = _image_column(lower, bare, index)
    if image is None:
        return bare
    sheet = replace(bare, image=image)
    sheet = replace(sheet, found=_found(sheet, index))
    named = sheet.found > 0 or names_images(sheet) or _found(sheet, index, ambiguous=True) > 0.5
    return _with_boxes(sheet, lower) or _with_labels(sheet, lower, named, index)


def _with_boxes(sheet: Sheet, lower: tuple[str, ...]) -> Sheet | None:
    """The sheet with the columns of its boxes; None if it has none."""
    sheet = replace(sheet, kind="boxes", header=lower, label=_label_of(sheet, lower))
    if (found := box_columns(lower)) is not None:
        return replace(sheet, box=found[0], form=found[1])
    box = [lower.index(name) for name in BOX_COLUMN if name in lower]
    if box:
        return replace(sheet, box=(box[0],), form="sized")
    taken = (sheet.image, sheet.label, sheet.split_column)
    texts = {i: [row[i] for row in sheet.rows[:MAX_LOOKED]] for i in range(len(lower)) if i not in taken}
    outlines = [i for i, values in texts.items() if are_outlines(plain(lower[i]), values)]
    return replace(sheet, outline=outlines[0]) if len(outlines) == 1 else None


def _label_of(sheet: Sheet, lower: tuple[str, ...]) -> int | None:
    return label_column(lower, (sheet.image, sheet.split_column))


def _with_labels(sheet: Sheet, lower: tuple[str, ...], named_images: bool, index: ImageIndex) -> Sheet:  # noqa: PLR0911
    """The sheet with its column of labels, or its column per class. named_images: its values are names of images."""
    taken = {sheet.image, sheet.split_column, *(i for i, name in enumerate(lower) if plain(name) in NO_LABEL_WORDS)}
    others = tuple(i for i in range(len(lower)) if i not in taken)
    if len(others) >= 2 and _are_hot(sheet.rows, others) and not any(lower[i] in PLAIN_NAMES for i in others):
        return replace(sheet, kind="classes", columns=others)
    if not named_images:
        return replace(sheet, image=0)  # a column called "name" or "id" of a plain table
    if not others:
        return replace(sheet, kind="unlabelled")
    if any(sum(row[i].lstrip().startswith(("[{", "{")) for row in sheet.rows[:MAX_LOOKED]) for i in others):
        return replace(sheet, kind="unread")
    if any(_are_texts_of_boxes([row[i] for row in sheet.rows[:MAX_LOOKED]]) for i in others):
        return replace(sheet, kind="unread")
    if runs := [i for i in others if are_runs(plain(lower[i]), [row[i] for row in sheet.rows[:MAX_LOOKED]])]:
        return replace(sheet, kind="runs", columns=(runs[0],), label=_label_of(sheet, lower))
    if sum(bool(GEOMETRY.match(plain(lower[i]))) for i in others) >= MIN_GEOMETRY:
        return replace(sheet, kind="unread")
    return _with_label_column(sheet, lower, others, index)


def _with_label_column(sheet: Sheet, lower: tuple[str, ...], others: tuple[int, ...], index: ImageIndex) -> Sheet:
    """The sheet with its column of labels, or as unclear. others: the columns that may hold them."""
    images = further_images(lower, sheet.rows, sheet.image, others, index)
    label = label_column(lower, (sheet.image, sheet.split_column, *images))
    if images and (label is None or not all(MASK_COLUMN.search(lower[i]) for i in images)):
        return replace(sheet, kind="unclear", further=tuple(lower[i] for i in images))
    if label is None and len(others) == 1 and lower[others[0]] not in TEXT_COLUMNS:
        label = others[0]
    if label is None:
        return replace(sheet, kind="unclear")
    found = rivals(lower, sheet.rows, label, (sheet.image, sheet.split_column, *images))
    if are_equal_rivals(lower, label, found):
        return replace(sheet, kind="unclear")
    return replace(sheet, kind="images", label=label, rivals=tuple(lower[i] for i in found))


def _are_texts_of_boxes(values: Sequence[str]) -> bool:
    """Return whether texts are boxes: "cat 4 4 24 14 dog ..." (ImageNet), "4 4 24 14;30 20 ..." (wheat heads)."""
    filled = [value.strip() for value in values if value.strip()]
    return sum(bool(TEXT_OF_BOXES.match(value)) for value in filled) > 0.5 * len(filled)


def _are_hot(rows: Sequence[tuple[str, ...]], columns: Sequence[int]) -> bool:
    """Return whether the columns hold 0 and 1, true and false, or -1 and 1."""
    values = {row[i].strip().lower() for row in rows for i in columns}
    return values <= set(HOT) or values == {"-1", "1"}


def is_hot(value: str) -> bool:
    """Return whether a value in the column of one class means that the image has it."""
    return value.strip().lower() in ("1", "1.0", "true")


def names_images(sheet: Sheet) -> bool:
    """Return whether most values of the column of images end like image files."""
    looked = sheet.rows[:MAX_LOOKED]
    named = sum(Path(parts[-1]).suffix.lower() in IMAGE_SUFFIXES for row in looked
                if (parts := name_parts(row[sheet.image])))  # fmt: skip
    return named > 0.5 * len(looked)


def _image_in_header(header: Sequence[str], rows: Sequence[tuple[str, ...]], index: ImageIndex) -> int | None:
    """The column where the first row names an image, so that it is no header."""
    for i, cell in enumerate(header):
        parts = name_parts(cell)
        if parts and Path(parts[-1]).suffix.lower() in IMAGE_SUFFIXES:
            return i
        named = normal(cell.strip()) in index.stems and cell.strip().lower() not in IMAGE_COLUMNS
        if named and _are_stems([row[i] for row in rows], index):
            return i
    return None


def _named_columns(first: Sequence[str], rows: Sequence[tuple[str, ...]], image: int) -> tuple[str, ...]:
    """Column names for a file without a header: image and label, Keras-RetinaNet's and Google AutoML's boxes."""
    names = [f"column {i + 1}" for i in range(len(first))]
    names[image] = "image"
    left = [i for i in range(len(first)) if i != image]
    if left and all(row[left[0]].strip().upper() in AUTOML_SPLITS for row in (tuple(first), *rows)):
        names[left.pop(0)] = "split"
    if len(left) == 1:
        names[left[0]] = "label"
    elif _begin_with_boxes(left, first, rows):
        for i, name in zip(left, ("x1", "y1", "x2", "y2", "label")):
            names[i] = name
    elif len(names) == len(MAKE_SENSE) and image == MAKE_SENSE.index("image") and _are_sized(first, rows):
        names = list(MAKE_SENSE)
    elif len(left) == 9 and names[0] == "split":
        for i, name in zip(left, ("label", "xmin", "ymin", "", "", "xmax", "ymax", "", "")):
            names[i] = name or names[i]
    return tuple(names)


def _begin_with_boxes(left: Sequence[int], first: Sequence[str], rows: Sequence[tuple[str, ...]]) -> bool:
    """Return whether columns are four numbers of a box and its class, perhaps with the size of the image behind."""
    named = len(left) == 5 or (len(left) > 5 and numbers((first[left[4]],)) is None)
    return named and _are_boxes([[row[i] for i in left[:4]] for row in (first, *rows)])


def _are_sized(first: Sequence[str], rows: Sequence[tuple[str, ...]]) -> bool:
    """Return whether rows without a header are those of Make Sense: a label, a box and the size of its image."""
    found = [numbers((*row[1:5], *row[6:8])) for row in (first, *rows)]
    return all(v is not None and v[0] + v[2] <= v[4] + 1 and v[1] + v[3] <= v[5] + 1 for v in found)


def _are_boxes(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the rows that are not empty are four numbers, except a few that are damaged."""
    full = [row for row in rows if any(cell.strip() for cell in row)]
    bad = sum(numbers(row) is None for row in full)
    return bad <= max(1, MAX_DAMAGED * len(full)) and 2 * bad < max(1, len(full))


def _image_column(lower: tuple[str, ...], sheet: Sheet, index: ImageIndex) -> int | None:
    """Index of the column whose values are names of images."""
    order = sorted(range(len(lower)), key=lambda i: IMAGE_COLUMNS.index(lower[i]) if lower[i] in IMAGE_COLUMNS else 99)
    for i in order:
        own = replace(sheet, image=i)
        if names_images(own):
            return i
        if lower[i] in IMAGE_COLUMNS and _found(own, index, ambiguous=True) > 0.5:
            return i
    by_values = next((i for i in order if _are_stems([row[i] for row in sheet.rows], index)), None)
    if by_values is None and box_columns(lower):
        return next((i for i in order if lower[i] in IMAGE_COLUMNS), None)
    return by_values


def _are_stems(values: Sequence[str], index: ImageIndex) -> bool:
    """Return whether values name most of the images without their endings, as the column patientId of X-rays."""
    distinct = {normal(value.strip()) for value in values}
    if numbers(distinct) is not None and len(distinct) < len(values):
        return False  # repeated numbers are counts or measurements, not file names
    found = distinct & index.stems
    return len(found) >= MOST_IMAGES * max(len(distinct), len(index.stems))


def _found(sheet: Sheet, index: ImageIndex, ambiguous: bool = False) -> float:
    """Fraction of the first rows whose image is there. ambiguous: also count rows that fit several images."""
    looked = sheet.rows[:MAX_LOOKED]
    if not looked:
        return 0.0
    names = [row[sheet.image] for row in looked]
    splits = [sheet.split_of_row(row) for row in looked]
    found = [index.find(name, sheet.file.folder, split) for name, split in zip(names, splits)]
    count = sum(not isinstance(one, str) or (ambiguous and one.startswith(AMBIGUOUS)) for one in found)
    return count / len(names)

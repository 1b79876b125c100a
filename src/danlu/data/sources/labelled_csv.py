"""csv files that name images: boxes (one row per object), a label per image, or a column per class.

The columns are recognised by their names and values; a table without a column of images is `csv.py`'s.
"""

from __future__ import annotations

import ast
import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from danlu.config import DataConfig
from danlu.data.dataset import TRAIN, UNASSIGNED, Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.image_index import AMBIGUOUS, ImageIndex, name_parts
from danlu.data.images import IMAGE_SUFFIXES, ImageInfo, check_images
from danlu.data.sources.labelled import image_files, wanted_task
from danlu.data.sources.reading import Reading, stop_if_many_bad
from danlu.data.sources.targets import Task, decide, to_classes, to_numbers
from danlu.data.split_names import split_of, split_of_path
from danlu.data.survey import File, Survey, as_survey, normal, survey
from danlu.data.text_files import decode_text
from danlu.message import message
from danlu.refuse import Refusal, refusal

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
MAX_LABEL_COLUMNS = 3  # columns of a csv of images and labels, which holds nothing to learn from without the images
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

    @property
    def split(self) -> int:
        own = split_of(self.file.stem)
        return own if own != UNASSIGNED else split_of_path(self.file.folder)


def look_boxes(data: Survey) -> Evidence | None:
    """csv files with a column of images and the columns of a box."""
    return _look(data, "boxes", Fit.CONVERTED)


def look_images(data: Survey) -> Evidence | None:
    """csv files with a column of images and one of labels."""
    return _look(data, "images", Fit.CONVERTED)


def look_classes(data: Survey) -> Evidence | None:
    """csv files with a column of images and a column of 0 and 1 per class."""
    found = _look(data, "classes", Fit.CONVERTED)
    sheets = _sheets_of(data, "classes")
    if found is None or all(_one_label_each(sheet) for sheet in sheets):
        return found
    why = message(
        "data.refuse.multi_label",
        "{file} gives several labels to one image (multi-label classification), which is not read yet",
        file=sheets[0].file.relative,
    )
    return replace(found, refuse=why)


def _look(data: Survey, kind: str, fit: Fit) -> Evidence | None:
    sheets = _sheets_of(data, kind)
    if not sheets:
        return None
    sheet = sheets[0]
    names = [sheet.header[i] for i in (sheet.image, *sheet.box, *([sheet.label] if sheet.label is not None else ()))]
    seen = message(
        "data.seen.labelled_csv", "{file} has the columns {columns}, and images are called so",
        file=sheet.file.relative, columns=names,
    )  # fmt: skip
    if not any(one.found for one in sheets):
        name = sheet.rows[0][sheet.image] if sheet.rows else ""
        reason = ImageIndex.of(_around(data)).find(name, sheet.file.folder, sheet.split)
        if isinstance(reason, str) and reason.startswith(AMBIGUOUS):
            why = message(
                "data.refuse.csv_ambiguous", "{file} names images that several files are called after ({reason}): "
                "move the others elsewhere", file=sheet.file.relative, reason=reason,
            )  # fmt: skip
            return Evidence(Fit.MARKED if data.is_file else fit, seen, why)
        why = message(
            "data.refuse.csv_images", "{file} names images ({name}) that lie neither beside it nor below",
            file=sheet.file.relative, name=sheet.rows[0][sheet.image],
        )  # fmt: skip
        # Names of image files beside a label or a box are no column of a table, though the images are elsewhere.
        of_images = _names_images(sheet) and (kind == "boxes" or len(sheet.header) <= MAX_LABEL_COLUMNS)
        return Evidence(Fit.MARKED if data.is_file or of_images else Fit.POSSIBLE, seen, why)
    return Evidence(Fit.MARKED if data.is_file else fit, seen)


def open_boxes(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """`ImageFiles` and annotations of every csv of boxes; classes sorted by name."""
    data = as_survey(path)
    wanted = wanted_task(data.path, task, masks=False)
    around = _around(data)
    reading = Reading(around, config, "csv boxes")
    for sheet in _sheets_of(data, "boxes"):
        fractions = _are_fractions(sheet)
        names = _open_images_names(around) if "labelname" in sheet.header else {}
        if fractions:
            reading.notes.append(f"{sheet.file.relative}: boxes are taken as fractions of the image")
        for row, line in zip(sheet.rows, sheet.lines):
            where = f"{sheet.file.relative} line {line}"
            one = reading.image(
                row[sheet.image], where, near=sheet.file.folder, split=sheet.split, size=_size_of(sheet, row),
                fractions=fractions,
            )  # fmt: skip
            if one is None:
                continue
            label = row[sheet.label].strip() if sheet.label is not None else "object"
            box = _box(sheet, row)
            if box is None and not any(row[i].strip() for i in sheet.box):
                continue  # a row that only names the image: it has no objects
            reading.entries += 1
            crowd = "isgroupof" in sheet.header and row[sheet.header.index("isgroupof")].strip() == "1"
            fault = "" if box is not None else f"box {', '.join(row[i] for i in sheet.box)} is no four numbers"
            fault = fault or ("" if label else "no class")
            reading.add(one, f"line {line}", names.get(label, label), box or (0, 0, 0, 0), ignore=crowd, fault=fault)
    return reading.finish(wanted)


def open_images(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """`ImageFiles` and the label of each image; a csv without labels, such as Kaggle's test.csv, is left out."""
    return _open_labels(as_survey(path), config, task, "images", "csv images")


def open_classes(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """As `open_images`, where each row has a 1 in the column of its one class."""
    return _open_labels(as_survey(path), config, task, "classes", "csv classes")


def multi_label_targets(sheet: Sheet) -> np.ndarray:
    """float32 (N, K) of 0 and 1: the labels of each row of a sheet with a column per class."""
    return np.array([[float(row[i] or 0) for i in sheet.columns] for row in sheet.rows], np.float32)


def _open_labels(data: Survey, config: DataConfig, task: Task | None, kind: str, form: str) -> Dataset:
    around = _around(data)
    index = ImageIndex.of(around)
    problems: list[Problem] = []
    notes: list[str] = []
    labels: dict[Path, tuple[str, int, str]] = {}
    bad = total = 0
    for sheet in _sheets_of(data, kind):
        label = _label_column(sheet, config.target) if kind == "images" else None
        for row, line, name in zip(sheet.rows, sheet.lines, _labels(sheet, label)):
            where = f"{sheet.file.relative} line {line}"
            total += 1
            found = index.find(row[sheet.image], sheet.file.folder, sheet.split)
            if isinstance(found, str) or not name:
                bad += 1
                problems.append(
                    Problem(f"{where} ({row[sheet.image]})", found if isinstance(found, str) else "no label")
                )
                continue
            before = labels.get(found.path)
            if before is not None and before[0] != name:
                raise Refusal(
                    f"{where}: {row[sheet.image]} is labelled {name!r} here and {before[0]!r} in {before[2]}; "
                    "several labels per image (multi-label classification) are not read yet"
                )
            if before is not None:
                problems.append(Problem(where, f"{row[sheet.image]} is listed twice", "kept"))
            labels[found.path] = (name, sheet.split, where)
    unlabelled = [s for s in _sheets(data) if s.kind == "unlabelled"]
    notes += [
        f"{s.file.relative} names images without labels: they are for prediction and not read" for s in unlabelled
    ]
    stop_if_many_bad(data.path, bad, total, problems, config)
    dataset = _dataset(around, form, labels, config, task, problems, notes + index.notes())
    return replace(dataset, unlabelled=tuple({sheet.split for sheet in unlabelled} - {TRAIN, UNASSIGNED}))


def _dataset(
    data: Survey,
    form: str,
    labels: dict[Path, tuple[str, int, str]],
    config: DataConfig,
    task: Task | None,
    problems: list[Problem],
    notes: list[str],
) -> Dataset:
    paths = list(labels)
    infos = check_images(paths, workers=config.workers)
    broken = [Problem(_relative(p, data), info) for p, info in zip(paths, infos) if isinstance(info, str)]
    stop_if_many_bad(data.path, len(broken), len(paths), broken, config)
    good = [(p, info) for p, info in zip(paths, infos) if isinstance(info, ImageInfo)]
    kept = tuple(p for p, _ in good)
    words = [labels[p][0] for p in kept]
    values, decided = _values(words, task, f"label of {data.path}")
    splits = torch.tensor([labels[p][1] for p in kept], dtype=torch.int8)
    given = splits if TRAIN in splits.tolist() and len(splits.unique()) > 1 else None
    targets, classes = to_classes(values) if decided == "classify" else (to_numbers(values, "label"), ())
    return Dataset(
        path=str(data.path),
        format=form,
        task=decided,
        inputs=image_files(kept, [info for _, info in good], config, notes),
        targets=targets,
        classes=classes,
        target_names=() if decided == "classify" else ("label",),
        given=given,
        name_of=lambda i: _relative(kept[i], data),
        problems=[*problems, *broken],
        notes=notes,
    )


def _values(words: list[str], task: Task | None, where: str) -> tuple[np.ndarray, Any]:
    """Labels as they are written, or as numbers where these are to be predicted."""
    text = np.array(words, dtype=object)
    numbers = _numbers(words)
    if task == "classify" or numbers is None or (task is None and np.all(numbers == np.round(numbers))):
        return text, "classify"
    return numbers, decide(numbers, task, where)[0]


def _numbers(words: Iterable[str]) -> np.ndarray | None:
    try:
        found = np.array([float(word) for word in words])
    except ValueError:
        return None
    return found if np.isfinite(found).all() else None


def _labels(sheet: Sheet, label: int | None) -> list[str]:
    if label is not None:
        return [row[label].strip() for row in sheet.rows]
    values = multi_label_targets(sheet)
    return [sheet.header[sheet.columns[int(row.argmax())]] if row.sum() == 1 else "" for row in values]


def _label_column(sheet: Sheet, target: str | None) -> int:
    if target is None:
        assert sheet.label is not None
        return sheet.label
    names = [name.lower() for name in sheet.header]
    if target.lower() not in names:
        raise refusal("--target", f"a column of {sheet.file.path}", target, near=sheet.header)
    return names.index(target.lower())


def _one_label_each(sheet: Sheet) -> bool:
    return bool((multi_label_targets(sheet).sum(axis=1) == 1).all())


def _relative(path: Path, data: Survey) -> str:
    try:
        return path.relative_to(data.root).as_posix()
    except ValueError:
        return str(path)


# --- recognition ---------------------------------------------------------------------------------------------------


def _sheets_of(data: Survey, kind: str) -> list[Sheet]:
    """Sheets of one kind; of files that repeat one another those that name splits, as train.csv beside all.csv."""
    sheets = [sheet for sheet in _sheets(data) if sheet.kind == kind]
    with_images = [sheet for sheet in sheets if sheet.found] or sheets
    split = [sheet for sheet in with_images if sheet.split != UNASSIGNED]
    if TRAIN in {sheet.split for sheet in split} and len(split) < len(with_images):
        return split
    return with_images


def _sheets(data: Survey) -> list[Sheet]:
    if "sheets" not in data.memo:
        files = [file for file in data.files if file.suffix in ENDINGS and SUBMISSION not in file.name.lower()]
        files = [file for file in files if _may_name_images(data.lines(file), data)] if len(files) <= MAX_SHEETS else []
        index = ImageIndex.of(_around(data)) if files else None
        found = [_sheet(file, index) for file in files if index is not None]
        sheets = [sheet for sheet in found if sheet is not None]
        data.memo["sheets"] = [_like_others(sheet, sheets, index) for sheet in sheets if index is not None]
    return data.memo["sheets"]


def _like_others(sheet: Sheet, sheets: Sequence[Sheet], index: ImageIndex) -> Sheet:
    """A sheet of no kind, as one with the same columns whose images were found, as the csv of another split."""
    header = [name.lower() for name in sheet.header]
    for other in sheets if not sheet.kind else ():
        if other.kind and other.found and [name.lower() for name in other.header] == header:
            own = replace(other, file=sheet.file, rows=sheet.rows, lines=sheet.lines)
            return replace(own, found=_found(own, index))
    return sheet


def _may_name_images(lines: Sequence[str], data: Survey) -> bool:
    """Whether a table may have a column of images: by the header, or by an image's extension in its first lines."""
    header = {name.strip(" \"'\ufeff").lower() for name in re.split(r"[,;\t]", lines[0])} if lines else set()
    named = header & (set(IMAGE_COLUMNS) if data.images else STRONG_COLUMNS)
    return bool(named) or any(suffix in line.lower() for line in lines[:MAX_LOOKED] for suffix in USUAL_SUFFIXES)


def _around(data: Survey) -> Survey:
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
    header, rows, lines = read
    lower = tuple(name.strip().lower() for name in header)
    plain = Sheet(file, tuple(name.strip() for name in header), rows, lines, "")
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
    if not sheet.found and not _names_images(sheet):
        return replace(sheet, image=0)  # a column called "name" or "id" of a plain table
    if not others:
        return replace(sheet, kind="unlabelled")
    label = named[0] if named else others[0] if len(others) == 1 else None
    return replace(sheet, kind="images", label=label) if label is not None else replace(sheet, image=0)


def _names_images(sheet: Sheet) -> bool:
    looked = sheet.rows[:MAX_LOOKED]
    named = sum(Path(parts[-1]).suffix.lower() in IMAGE_SUFFIXES for row in looked
                if (parts := name_parts(row[sheet.image])))  # fmt: skip
    return named > 0.5 * len(looked)


def _is_headerless(header: Sequence[str]) -> bool:
    """Keras-RetinaNet's csv: path, x1, y1, x2, y2, class."""
    if len(header) != 6 or Path(header[0]).suffix.lower() not in IMAGE_SUFFIXES:
        return False
    return _numbers(header[1:5]) is not None


def _image_column(lower: tuple[str, ...], sheet: Sheet, index: ImageIndex) -> int | None:
    """The column whose values are called like images."""
    order = sorted(range(len(lower)), key=lambda i: IMAGE_COLUMNS.index(lower[i]) if lower[i] in IMAGE_COLUMNS else 99)
    for i in order:
        own = replace(sheet, image=i)
        if _names_images(own):
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


def _read(file: File) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], tuple[int, ...]] | None:
    """Header, rows as long as it, and their lines; None where the file is no table of text."""
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
    rows, lines = [], []
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    header: tuple[str, ...] = ()
    try:
        for row in reader:
            if not header:
                header = tuple(row)
            elif len(row) == len(header):
                rows.append(tuple(row))
                lines.append(reader.line_num)
    except csv.Error:
        return None
    return (header, tuple(rows), tuple(lines)) if header and (rows or len(header) > 1) else None


# --- boxes ---------------------------------------------------------------------------------------------------------


def _box(sheet: Sheet, row: Sequence[str]) -> tuple[float, float, float, float] | None:
    values = [row[i] for i in sheet.box]
    if len(values) == 1:
        try:
            found = ast.literal_eval(values[0].strip() or "()")
            values = [str(value) for value in found]
        except (ValueError, SyntaxError, TypeError):
            values = values[0].split()
    numbers = _numbers(values) if len(values) == 4 else None
    if numbers is None:
        return None
    a, b, c, d = numbers.tolist()
    return (a, b, a + c, b + d) if sheet.sized else (a, b, c, d)


def _are_fractions(sheet: Sheet) -> bool:
    """Whether every coordinate lies in [0, 1]."""
    boxes = [box for row in sheet.rows if (box := _box(sheet, row)) is not None]
    largest = max((max(box) for box in boxes), default=2.0)
    return bool(boxes) and largest <= 1.0 + 1e-6 and any(not float(v).is_integer() for box in boxes for v in box)


def _size_of(sheet: Sheet, row: Sequence[str]) -> tuple[int, int] | None:
    for height, width in SIZE_COLUMNS:
        if height in sheet.header and width in sheet.header:
            i, j = sheet.header.index(height), sheet.header.index(width)
            if not {i, j} & set(sheet.box):
                numbers = _numbers([row[i], row[j]])
                if numbers is not None and numbers.min() > 0 and math.isfinite(numbers.sum()):
                    return int(numbers[0]), int(numbers[1])
    return None


def _open_images_names(data: Survey) -> dict[str, str]:
    """Open Images' class names: "/m/01g317" -> "Person", from class-descriptions*.csv."""
    for file in data.files:
        if file.name.lower().startswith(("class-descriptions", "oidv7-class-descriptions")) and file.suffix == ".csv":
            rows = csv.reader(io.StringIO(file.path.read_text(encoding="utf-8-sig")))
            return {row[0]: row[1].strip() for row in rows if len(row) == 2}
    return {}

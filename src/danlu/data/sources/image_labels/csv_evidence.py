"""Recognition of csv files that name images, by what their columns hold: boxes, labels, or a column per class."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import Survey, surroundings
from danlu.data.image_index import AMBIGUOUS, OUTSIDE, ImageIndex
from danlu.data.sources.folders.class_layout import class_layout
from danlu.data.sources.tables.sheet_reading import of_any_column
from danlu.data.sources.tables.sheets import (
    Sheet,
    names_images,
    sheets_of,
)
from danlu.message import Message, message

MAX_LABEL_COLUMNS = 3  # columns of a csv of images and labels, which holds nothing to learn from without the images


def look_boxes(data: Survey) -> Evidence | None:
    """csv files with a column of images and the columns of a box."""
    return _look(data, "boxes", Fit.CONVERTED)


def look_images(data: Survey) -> Evidence | None:
    """csv files with a column of images and one of labels."""
    if unread := sheets_of(data, "unread"):
        why = message(
            "data.refuse.csv_unread",
            "{file} names images and has columns of boxes ({columns}) in an unknown form: call them xmin, ymin, xmax, "
            "ymax, or x, y, width, height; where one is the label or number of an image, use --target COLUMN",
            **_names_of(unread[0]),
        )  # fmt: skip
        return _undecided(data, unread[0], why, Fit.CONVERTED)
    if (runs := sheets_of(data, "runs")) and not runs[0].found and not sheets_of(data, "images"):
        why = message(
            "data.refuse.csv_runs",
            "{file} holds run lengths of masks ({columns}), but none of its images ({name}) lies beside it or below",
            **_names_of(runs[0]), name=runs[0].rows[0][runs[0].image] if runs[0].rows else "",
        )  # fmt: skip
        return _undecided(data, runs[0], why, Fit.LAYOUT)
    unclear = sheets_of(data, "unclear")
    if unclear and not sheets_of(data, "images") and unclear[0].further:
        why = message(
            "data.refuse.csv_pairs",
            "{file} names several images in each row (also in {further}), as pairs, which are not read: keep one "
            "column of images, or use --format csv-images --target COLUMN, which reads those of the column {image}",
            file=unclear[0].file.relative, further=unclear[0].further, image=unclear[0].header[unclear[0].image],
        )  # fmt: skip
        return _undecided(data, unclear[0], why, Fit.LAYOUT)
    if unclear and not sheets_of(data, "images"):
        why = message(
            "data.refuse.csv_unclear",
            "{file} names images, but which of its columns ({columns}) is the label is not clear: use --format "
            "csv-images --target COLUMN", **_names_of(unclear[0]),
        )  # fmt: skip
        return _undecided(data, unclear[0], why, Fit.LAYOUT)
    found = _look(data, "images", Fit.CONVERTED)
    layout = None if found is None or data.is_file else class_layout(data)
    if layout is not None and layout.listed:
        return None  # classes of a split beside class folders, which `folder` reads with them
    return found if found is None or layout is None else replace(found, refuse=found.refuse or layout.refuse_list)


def _names_of(sheet: Sheet) -> dict[str, Any]:
    """File and columns of a table, for messages."""
    return {"file": sheet.file.relative, "columns": sheet.header}


def _undecided(data: Survey, sheet: Sheet, why: Message, fit: Fit) -> Evidence:
    """Evidence of a table that is refused for the reason `why`. fit: where it is one file of a folder."""
    seen = message("data.seen.csv_unread", "{file} has the columns {columns}", **_names_of(sheet))
    return Evidence(Fit.MARKED if data.is_file else fit, seen, why)


def names_target(data: Survey, target: str) -> bool:
    """Return whether `target` is the column of labels of a csv of images that is unclear without it."""
    found = [] if sheets_of(data, "images") else of_any_column(data)
    return any(target.lower() in map(str.lower, sheet.header) for sheet in found)


def look_classes(data: Survey) -> Evidence | None:
    """csv files with a column of images and a column of 0 and 1 per class."""
    return _look(data, "classes", Fit.CONVERTED)


def _look(data: Survey, kind: str, fit: Fit) -> Evidence | None:
    sheets = sheets_of(data, kind)
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
        reason = ImageIndex.of(surroundings(data)).find(name, sheet.file.folder, sheet.split)
        if isinstance(reason, str) and reason.startswith(AMBIGUOUS):
            why = message(
                "data.refuse.csv_ambiguous", "{file} names images that several files are called after ({reason}): "
                "move the others elsewhere", file=sheet.file.relative, reason=reason,
            )  # fmt: skip
            return Evidence(Fit.MARKED if data.is_file else fit, seen, why)
        if isinstance(reason, str) and reason.startswith(OUTSIDE):
            why = message(
                "data.refuse.csv_outside", "{file} names images outside the data folder ({name}): --follow-links reads "
                "them", file=sheet.file.relative, name=name,
            )  # fmt: skip
            return Evidence(Fit.MARKED, seen, why)
        why = message(
            "data.refuse.csv_images", "{file} names images ({name}) that lie neither beside it nor below",
            file=sheet.file.relative, name=sheet.rows[0][sheet.image],
        )  # fmt: skip
        # A csv of image file names and labels or boxes is about images, even if the images are missing: it is no table.
        of_images = names_images(sheet) and (kind == "boxes" or len(sheet.header) <= MAX_LABEL_COLUMNS)
        return Evidence(Fit.MARKED if data.is_file or of_images else Fit.POSSIBLE, seen, why)
    return Evidence(Fit.MARKED if data.is_file else fit, seen)

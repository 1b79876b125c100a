"""Predictions as a table of the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from danlu.inference.prediction import Prediction
from danlu.message import translated
from danlu.printing.lines import print_line
from danlu.printing.tables import print_with_names

MAX_OBJECTS_LISTED = 12  # per image in the table; --json has all of them


def print_predictions(console: Console, predictions: Sequence[Prediction]) -> None:
    """Print a row for each prediction: its class or value, or its objects."""
    objects = any(row.objects is not None for row in predictions)
    (_print_objects if objects else _print_answers)(console, predictions)
    if failed := sum(row.error is not None for row in predictions):
        text = "{failed} of {total} could not be read"
        print_line(console, translated("console.unreadable_count", text, failed=failed, total=len(predictions)))


def _print_answers(console: Console, predictions: Sequence[Prediction]) -> None:
    headings = (
        translated("console.column.path", "path"),
        translated("console.column.prediction", "prediction"),
        translated("console.column.confidence", "confidence"),
        translated("console.column.also", "also"),
    )
    print_with_names(console, headings, [_answer_cells(row) for row in predictions])


def _answer_cells(row: Prediction) -> tuple[str, str, str, str]:
    """Path, answer, confidence and the next classes of a prediction."""
    if row.error is not None:
        return row.path, translated("console.unreadable", "unreadable"), "", row.error
    if row.label is not None:
        others = ", ".join(f"{name} {probability:.3f}" for name, probability in (row.top or [])[1:])
        return row.path, row.label, f"{row.confidence:.3f}", others
    if row.labels is not None:
        found = ", ".join(f"{name} {probability:.3f}" for name, probability in row.labels)
        named = {name for name, _ in row.labels}
        others = ", ".join(f"{name} {value:.3f}" for name, value in row.top or [] if name not in named)
        return row.path, found or translated("console.no_label", "no label"), "", others
    if row.areas is not None:
        return row.path, ", ".join(f"{name} {fraction:.1%}" for name, fraction in row.areas.items()), "", ""
    if row.value is not None:
        return row.path, f"{row.value:.6g}", "", ""
    return row.path, ", ".join(f"{name} {value:.6g}" for name, value in (row.targets or {}).items()), "", ""


def _print_objects(console: Console, predictions: Sequence[Prediction]) -> None:
    objects = translated("console.column.objects", "objects")
    headings = (translated("console.column.path", "path"), objects, translated("console.column.found", "found"))
    print_with_names(console, headings, [_object_cells(row) for row in predictions], right=(objects,))


def _object_cells(row: Prediction) -> tuple[str, str, str]:
    """Path, number of objects and the first of them."""
    if row.objects is None:
        return row.path, "", translated("console.unreadable_why", "unreadable: {reason}", reason=row.error)
    more = len(row.objects) - MAX_OBJECTS_LISTED
    listed = ", ".join(f"{one.label} {one.score:.2f}" for one in row.objects[:MAX_OBJECTS_LISTED])
    rest = translated("console.more_objects", " and {count} more", count=more) if more > 0 else ""
    return row.path, str(len(row.objects)), listed + rest

"""Several labels per sample, given by their names: ["red", "blue"] for one sample, [] for another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from danlu.message import message
from danlu.refuse import Refusal, nearest, refusal

KINDS = (list, tuple, set, frozenset)


def is_rows(values: Any) -> bool:
    """Return whether each value is a list or set of texts and numbers, a text or missing: no image, no sample."""
    rows = [row for row in _rows(values) if row is not None]
    plain = (str, int, float, np.generic)
    return bool(rows) and all(
        isinstance(row, str) or (isinstance(row, KINDS) and all(isinstance(tag, plain) for tag in row)) for row in rows
    )


def is_tags(values: Any) -> bool:
    """Return whether each value holds any number of texts or integers, and not one number of them for all.

    Rows of equally many integers are numbers, such as 0 or 1 for each label, and a single text in each row is a class.
    """
    rows = _rows(values)
    if not rows or not all(isinstance(row, KINDS) for row in rows):
        return False
    tags = [tag for row in rows for tag in row]
    if not tags or not all(isinstance(tag, str | int | np.integer) and not isinstance(tag, bool) for tag in tags):
        return False
    lengths = {len(row) for row in rows}
    if any(isinstance(row, set | frozenset) for row in rows):
        return True
    return len(lengths) > 1 or (isinstance(tags[0], str) and lengths != {1})


def as_tags(values: Any, where: str) -> np.ndarray:
    """Labels of each sample as tuples of text, an array of objects (N,). Refusal for text and integers in one set."""
    rows = _rows(values)
    tags = [tag for row in rows for tag in row]
    text = next((tag for tag in tags if isinstance(tag, str)), None)
    number = next((tag for tag in tags if not isinstance(tag, str)), None)
    if text is not None and number is not None:
        raise mixed(text, number, where)
    array = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):
        array[i] = tuple(sorted(row)) if text is not None else tuple(map(int, row))
    return array


def mixed(text: str, number: Any, where: str) -> Refusal:
    """The refusal of text and numbers in one set of labels."""
    wanted = message("own.wanted.text_or_numbers", "either text or numbers for all samples")
    both = message("own.got.text_and_number", "{text!r} and {number!r}", text=text, number=number)
    return refusal(where, wanted, both)


def check_alike(values: Any, where: str) -> None:
    """Refuse values of which some are lists of labels and others a label."""
    rows = _rows(values)
    several = next((row for row in rows if isinstance(row, KINDS)), None)
    single = next((row for row in rows if isinstance(row, str)), None)
    if several is not None and single is not None:
        wanted = message("own.wanted.label_or_list", "either a label or a list of labels for all samples")
        both = message("own.got.label_and_list", "{single!r} and {several}", single=single, several=repr(list(several)))
        raise refusal(where, wanted, both)


def holds_tags(labels: np.ndarray) -> bool:
    """Return whether labels are those of `as_tags`."""
    return labels.dtype == object and labels.ndim == 1 and len(labels) > 0 and isinstance(labels[0], tuple)


def joined_tags(parts: list[np.ndarray]) -> np.ndarray:
    """Labels of all splits, one after the other, where one of them holds tags: a class is a label in the others."""
    rows = [row for labels in parts for row in (labels.tolist() if labels.ndim == 2 else labels)]
    joined = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):
        joined[i] = tuple(row) if isinstance(row, tuple | list) else (row,)
    return joined


def tag_matrix(labels: np.ndarray, classes: Sequence[str] | None, where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """1 for each label that a sample has and 0 for the others, int64 (N, K), and the names of the labels.

    classes: of a trained network, in their order; without them all labels that occur, sorted. Raises Refusal for a
    label that is not among them.
    """
    names = tuple(map(str, sorted({tag for row in labels for tag in row})) if classes is None else classes)
    places = {name: k for k, name in enumerate(names)}
    matrix = np.zeros((len(labels), len(names)), dtype=np.int64)
    for i, row in enumerate(labels):
        for tag in row:
            if str(tag) not in places:
                wanted = message("own.wanted.known_label", "a label that the network was trained with")
                raise refusal(f"{where} at sample {i}", wanted, tag, near=nearest(str(tag), names))
            matrix[i, places[str(tag)]] = 1
    return matrix, names


def _rows(values: Any) -> list[Any]:
    """The values one by one; none if they are no sequence of Python objects."""
    if type(values).__module__.startswith("pandas") and hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if isinstance(values, np.ndarray):
        if values.dtype != object or values.ndim != 1:
            return []
        values = [one.tolist() if isinstance(one, np.ndarray) and one.ndim == 1 else one for one in values]
    return list(values) if isinstance(values, list | tuple) else []

"""Columns of run lengths of masks, as in Kaggle's tables of segmentation: starts, counted from 1, and lengths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RUN_WORDS = ("rle", "encodedpixels", "pixels", "mask")  # in the plain names of such columns
MAX_LABEL_NUMBER = 1000  # numbers in a list of labels are smaller
MIN_RUNS = 0.9  # fraction of the filled cells
MIN_COMPACT = 1.5  # times larger the boxes of objects are where the pixels are counted in the wrong direction
EMPTY = ("", "-1", "nan")  # cells of images without an object


def are_runs(name: str, values: Sequence[str]) -> bool:
    """Return whether values are pairs of a start and a length, with rising starts: "879386 40 881253 141".

    name: of the column, in lower case without other characters than letters and digits. Short lists of small numbers in
    a column of another name are labels: "16 0".
    """
    filled = [value.split() for value in values if value.strip().lower() not in EMPTY]
    pairs = [words for words in filled if len(words) % 2 == 0 and all(word.isdecimal() for word in words)]
    if not pairs or len(pairs) < MIN_RUNS * len(filled):
        return False
    starts = [[int(word) for word in words[::2]] for words in pairs]
    large = max(max(own) for own in starts) > MAX_LABEL_NUMBER
    return any(word in name for word in RUN_WORDS) or (large and all(own == sorted(own) for own in starts))


def mask_of(value: str, size: tuple[int, int], by_rows: bool = False) -> np.ndarray:
    """Mask of 0 and 1, uint8 (h, w), of a cell. by_rows: pixels are counted along the rows, else down the columns.

    Raises ValueError for runs that are not pairs of numbers, or that leave the image.
    """
    try:
        numbers = np.array([int(float(word)) for word in value.split()], np.int64)
    except (ValueError, OverflowError):
        raise ValueError("run lengths that are not numbers") from None
    if not len(numbers) or len(numbers) % 2:
        raise ValueError("run lengths without pairs of a start and a length")
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    height, width = size
    if starts.min() < 0 or lengths.min() < 1 or (starts + lengths).max() > height * width:
        raise ValueError(f"run lengths that leave the image of {width} x {height}")
    edges = np.zeros(height * width + 1, np.int32)
    np.add.at(edges, starts, 1)
    np.add.at(edges, starts + lengths, -1)
    flat = (edges[:-1].cumsum() > 0).astype(np.uint8)
    return flat.reshape(height, width) if by_rows else flat.reshape(width, height).T


def box_of_mask(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 of the pixels of a mask (h, w) that has some."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def are_by_rows(cells: Sequence[tuple[str, tuple[int, int]]]) -> bool:
    """Return whether run lengths count along the rows: their objects are then compact, and scattered otherwise.

    cells: text and (height, width) of some masks.
    """
    boxes = [0, 0]
    for value, size in cells:
        for k, by_rows in enumerate((False, True)):
            try:
                x1, y1, x2, y2 = box_of_mask(mask_of(value, size, by_rows))
            except ValueError:
                continue
            boxes[k] += (x2 - x1) * (y2 - y1)
    return 0 < MIN_COMPACT * boxes[1] < boxes[0]

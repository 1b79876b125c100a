"""Recognise columns of run lengths of masks, as in Kaggle's tables of segmentation."""

from __future__ import annotations

from collections.abc import Sequence

RUN_WORDS = ("rle", "encodedpixels", "pixels", "mask")  # in the plain names of such columns
MAX_LABEL_NUMBER = 1000  # numbers in a list of labels are smaller
MIN_RUNS = 0.9  # fraction of the filled cells
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

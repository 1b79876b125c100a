"""Several labels per image: their separator in a text column, and the matrix of labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

STRONG_SEPARATORS = (";", "|", ",")
LIST_SEPARATORS = (";", "|")  # hardly inside names: one label in two combinations is enough
SEPARATORS = (*STRONG_SEPARATORS, " ")
LIST_COLUMNS = ("tags", "keywords", "attributes", "attribute_ids", "concepts")  # names of columns of lists
MIN_SHARED = 0.5  # fraction of the labels that occur in two different texts or more, where texts are lists of labels


def separator_in(texts: Iterable[str]) -> str | None:
    """The first of `SEPARATORS` that occurs inside one of the texts, or None."""
    stripped = [text.strip() for text in texts]
    return next((one for one in SEPARATORS if any(one in text for text in stripped)), None)


def are_lists(texts: Sequence[str], separator: str, column: str = "") -> bool:
    """Return whether the texts are lists of labels rather than names that contain the separator.

    Labels of a list occur in other combinations too, parts of a name ("great white shark, white shark") hardly do.
    Spaces are common inside names: there, lists must also be of different lengths, with some of one label, and have
    fewer labels than combinations. In a column called like tags, one label in two combinations is enough.

    column: name of the column of the texts.
    """
    combinations = {frozenset(split_labels(text, separator)) for text in texts} - {frozenset()}
    seen = Counter(label for labels in combinations for label in labels)
    if not seen or max(map(len, combinations)) < 2:
        return False
    shared = sum(count > 1 for count in seen.values()) / len(seen)
    if separator in LIST_SEPARATORS and any(seen[label] > 1 for one in combinations if len(one) > 1 for label in one):
        return True
    if separator in STRONG_SEPARATORS:
        return shared >= MIN_SHARED
    if column.strip().lower() in LIST_COLUMNS:
        return max(seen.values()) > 1
    lengths = {len(labels) for labels in combinations}
    return shared >= MIN_SHARED and min(lengths) == 1 and len(seen) < len(combinations)


def has_shared_words(texts: Iterable[str]) -> bool:
    """Return whether a word of a text with spaces occurs in another text too, as labels of a list do."""
    different = set(texts)
    seen = Counter(word for text in different for word in set(text.split()))
    return any(seen[word] > 1 for text in different if " " in text for word in text.split())


def split_labels(text: str, separator: str | None) -> tuple[str, ...]:
    """Labels in a text, each once, in their order. Surrounding brackets and quotes of a written list are dropped."""
    if text.strip().startswith("[") and text.strip().endswith("]"):
        text = text.strip()[1:-1].replace("'", "").replace('"', "")
    parts = [text] if separator is None else text.split(separator)
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def label_matrix(labels: Sequence[Sequence[str]], classes: Sequence[str]) -> Tensor:
    """float32 (N, K): 1 where a sample has a label, else 0."""
    place = {name: k for k, name in enumerate(classes)}
    matrix = torch.zeros(len(labels), len(classes))
    for row, names in zip(matrix, labels):
        row[[place[name] for name in names]] = 1
    return matrix

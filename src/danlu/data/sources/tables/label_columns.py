"""The column of a table of images that holds their label, by its name, and columns that hold something else."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from danlu.data.dataset import UNASSIGNED
from danlu.data.files.image_file import IMAGE_SUFFIXES
from danlu.data.files.survey import normal
from danlu.data.image_index import ImageIndex, name_parts
from danlu.data.sources.tables.text_tables import MAX_LOOKED, numbers

CLASS_COLUMNS = ("class", "label", "labelname", "class_name", "classname", "label_name", "category", "category_name")
CLASS_COLUMNS += ("name", "target", "object", "labels", "classes", "species", "breed", "diagnosis", "tag", "y")
CLASS_COLUMNS += ("class_id", "classid", "label_id", "category_id", "cls")
CLASS_WORDS = ("label", "labels", "class", "classes", "category", "tag", "tags", "diagnosis", "species", "breed")
CLASS_WORDS += ("klasse", "kategorie", "classe", "catégorie", "étiquette")
CLASS_WORDS += ("clase", "categoría", "etiqueta", "categoria")
WORDS = re.compile(r"[^\W_]+")  # of a column's name: "Finding Labels"
PLAIN_NAMES = {"label", "labels", "class", "classes", "target"}  # of the label itself, whatever it is about
NO_RIVALS = {"name", "object", "tag", "y"}  # names of labels, but of other columns as often
TEXT_COLUMNS = {"caption", "captions", "text", "texts", "description", "transcription", "transcript", "sentence"}
TEXT_COLUMNS |= {"comment", "prompt", "words", "title"}  # of texts about the image, of which each is another one
MASK_COLUMN = re.compile(r"mask|seg|annot|label|truth|gt|roi", re.I)  # of the path of an image's mask
MAJORITY = 0.5  # of the values of a column


def label_column(lower: Sequence[str], taken: Collection[int | None]) -> int | None:
    """The column that is called like a label; None without one, or if several end like one.

    lower: lower-case names of the columns. taken: columns of another meaning.
    """
    named = [lower.index(name) for name in CLASS_COLUMNS if name in lower and lower.index(name) not in taken]
    if named:
        return named[0]
    ending = [i for i, name in enumerate(lower) if i not in taken and is_class_name(name)]
    return ending[0] if len(ending) == 1 else None


def is_class_name(name: str) -> bool:
    """Return whether a column's name ends with a word for classes."""
    return last_word(name) in CLASS_WORDS


def last_word(name: str) -> str:
    """Return the last word of a column's name, "" of one without any."""
    return (WORDS.findall(name) or [""])[-1]


def rivals(
    lower: Sequence[str], rows: Sequence[Sequence[str]], label: int, taken: Collection[int | None]
) -> tuple[int, ...]:
    """Other columns that are called like labels and divide the images in another way, as species beside breed."""
    named = [i for i, name in enumerate(lower) if name in CLASS_COLUMNS and name not in NO_RIVALS and i != label]
    return tuple(i for i in named if i not in taken and not _one_to_one([(row[label], row[i]) for row in rows]))


def are_equal_rivals(lower: Sequence[str], label: int, others: Sequence[int]) -> bool:
    """Return whether none of several columns of labels is the usual one, or more than one of them is."""
    return bool(others) and sum(lower[i] in PLAIN_NAMES for i in (label, *others)) != 1


def _one_to_one(pairs: Sequence[tuple[str, str]]) -> bool:
    return len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(set(pairs))


def further_images(
    header: Sequence[str], rows: Sequence[Sequence[str]], image: int, others: Sequence[int], index: ImageIndex
) -> tuple[int, ...]:
    """Other columns whose values are names of images, and not the same ones in another form."""
    looked = rows[:MAX_LOOKED]
    found = []
    for i in others:
        stems = [_stem(row[i]) for row in looked]
        same = sum(_is_same(row[image], row[i], index) for row in looked)
        if same <= MAJORITY * len(looked) and _are_images([row[i] for row in looked], stems, index):
            found.append(i)
    return tuple(found)


def _are_images(values: Sequence[str], stems: Sequence[str], index: ImageIndex) -> bool:
    ending = sum(Path(value.strip()).suffix.lower() in IMAGE_SUFFIXES for value in values)
    if ending > MAJORITY * len(values):
        return True
    there = sum(stem in index.stems for stem in stems)
    return there > MAJORITY * len(values) and numbers(set(values)) is None and len(set(values)) > MAJORITY * len(values)


def _is_same(one: str, other: str, index: ImageIndex) -> bool:
    """Return whether two values name one image: the same file, or the same name where a file is missing."""
    if _stem(one) != _stem(other):
        return False
    first, second = index.find(one, (), UNASSIGNED), index.find(other, (), UNASSIGNED)
    return isinstance(first, str) or isinstance(second, str) or first == second


def _stem(value: str) -> str:
    parts = name_parts(value)
    return normal(Path(parts[-1]).stem) if parts else ""

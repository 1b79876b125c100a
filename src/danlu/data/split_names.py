"""Recognise split names in file and folder names: train, training_set, seg_train, train2017, valid, ..."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from danlu.data.dataset import TEST, TRAIN, UNASSIGNED, VAL
from danlu.message import TRANSLATIONS, message

SPLIT_NAMES = {
    TRAIN: message("split.names.train", "train training trn trainval learn"),
    VAL: message("split.names.val", "val valid validation validate dev minival eval evaluation"),
    TEST: message("split.names.test", "test testing tst testset holdout"),
}
SPLIT_WORDS = {word: split for split, names in SPLIT_NAMES.items() for word in names.split()}
# Words that are joined to a split's name: trainset, testimages, valdata.
JOINED = (
    "datasets",
    "dataset",
    "data",
    "sets",
    "set",
    "images",
    "image",
    "imgs",
    "img",
    "pictures",
    "photos",
    "folder",
)
JOINED += ("split", "labels", "label", "masks", "mask", "annotations", "annotation", "annots", "annot", "gt", "csv")
HOLDOUT = re.compile(r"h[eo]ld[-_ ]?out", re.IGNORECASE)  # several words of one name
NOT_ASCII = re.compile(r"[^\W\d_a-zA-Z]+")
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def split_of(name: str) -> int:
    """Recognise the split of a file or folder name: "instances_val2017" -> VAL; UNASSIGNED without a split name.

    The name of a training and a validation set ("train_val") is TRAIN, that of other combinations UNASSIGNED.

    >>> [split_of(name) == TEST for name in ("test2017", "held_out", "hold-out-images", "threshold_out")]
    [True, True, True, False]
    """
    words = WORD.findall(HOLDOUT.sub("holdout", name))
    found = {_split_of_word(word.lower()) for word in words} - {UNASSIGNED}
    if not name.isascii():
        found |= {split for word in NOT_ASCII.findall(name) if (split := _translated_words().get(word)) is not None}
    if len(found) > 1:
        return TRAIN if found == {TRAIN, VAL} else UNASSIGNED
    return next(iter(found), UNASSIGNED)


def split_of_path(parts: Iterable[str]) -> int:
    """Recognise the split of a path by its deepest folder with a split name."""
    return next((split for part in reversed(list(parts)) if (split := split_of(part)) != UNASSIGNED), UNASSIGNED)


def splits_of_folders(paths: Iterable[Path], root: Path) -> dict[Path, int]:
    """Splits of files by their folders below `root`: empty unless each has one, and there is a training set."""
    found = {path: split_of_path(Path(os.path.relpath(path, root)).parts[:-1]) for path in paths}
    splits = set(found.values())
    return found if TRAIN in splits and len(splits) > 1 and UNASSIGNED not in splits else {}


def _split_of_word(word: str) -> int:
    if word in SPLIT_WORDS:
        return SPLIT_WORDS[word]
    for joined in JOINED:
        if word.endswith(joined) and word.removesuffix(joined) in SPLIT_WORDS:
            return SPLIT_WORDS[word.removesuffix(joined)]
        if word.startswith(joined) and word.removeprefix(joined) in SPLIT_WORDS:
            return SPLIT_WORDS[word.removeprefix(joined)]
    return UNASSIGNED


@lru_cache
def _translated_words() -> dict[str, int]:
    """Split names in all languages that danlu is translated to -> split."""
    codes = [folder.name for folder in TRANSLATIONS.iterdir() if folder.is_dir()]
    return {
        word: split for code in codes for split, names in SPLIT_NAMES.items() for word in names.render(code).split()
    }

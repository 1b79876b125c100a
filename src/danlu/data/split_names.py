"""Split names as people write them: train, training_set, seg_train, train2017, valid, testing_images, ..."""

from __future__ import annotations

import re
from collections.abc import Iterable

from danlu.data.dataset import TEST, TRAIN, UNASSIGNED, VAL

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainval", "learn"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "minival", "eval", "evaluation"), VAL),
    **dict.fromkeys(("test", "testing", "tst", "testset"), TEST),
}
# Words that people join to a split's name: trainset, testimages, valdata.
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
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def split_of(name: str) -> int:
    """The split that a file or folder name means: "instances_val2017" -> VAL; UNASSIGNED where it names none.

    A name of two splits is the training set where one of them is ("train_val"), else none.
    """
    found = {_split_of_word(word.lower()) for word in WORD.findall(name)} - {UNASSIGNED}
    if len(found) > 1:
        return TRAIN if found == {TRAIN, VAL} else UNASSIGNED
    return next(iter(found), UNASSIGNED)


def split_of_path(parts: Iterable[str]) -> int:
    """The split named by the deepest folder that names one."""
    return next((split for part in reversed(list(parts)) if (split := split_of(part)) != UNASSIGNED), UNASSIGNED)


def _split_of_word(word: str) -> int:
    if word in SPLIT_WORDS:
        return SPLIT_WORDS[word]
    for joined in JOINED:
        if word.endswith(joined) and word.removesuffix(joined) in SPLIT_WORDS:
            return SPLIT_WORDS[word.removesuffix(joined)]
        if word.startswith(joined) and word.removeprefix(joined) in SPLIT_WORDS:
            return SPLIT_WORDS[word.removeprefix(joined)]
    return UNASSIGNED

"""Folders whose images of one name show the same: sizes, exposures, left and right views, images before and after."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from PIL import Image

from danlu.data.files.survey import File, Survey, normal
from danlu.message import Message, message

MAX_FOLDERS = 6  # that are compared with one another
COMPARED = 10  # images of each folder
SIDE = 16  # pixels of the small grey copies that are compared
MIN_SHARED = 0.9  # fraction of the file names that two folders share
MIN_LIKE = 0.5  # correlation of two images that may show the same
MIN_COPY = 0.98  # correlation of two images of one size that are copies
MIN_BEST = 0.8  # fraction of the images that are most like the image of their own name

Folder = tuple[str, ...]


def same_scenes(survey: Survey, folders: list[Folder]) -> Message | None:
    """Why two folders of one split are no classes: images of one name are more alike than those of other names.

    Copies of one size do not count: the same image in two classes is a fault of the labels, which other checks name.
    """
    if not 2 <= len(folders) <= MAX_FOLDERS:
        return None
    files = {folder: _by_name(survey, folder) for folder in folders}
    for first, second in combinations(folders, 2):
        if first[:-1] != second[:-1]:  # of two splits
            continue
        names = sorted(set(files[first]) & set(files[second]))
        if len(names) < 4 or len(names) < MIN_SHARED * max(len(files[first]), len(files[second])):
            continue
        chosen = names[:: -(-len(names) // COMPARED)]
        if _alike([files[first][name] for name in chosen], [files[second][name] for name in chosen]):
            return message(
                "data.refuse.same_scenes",
                "the images of one name in {first}/ and {second}/ show the same, as sizes, views or versions of one "
                "set: give one of the folders, or use --format folder if they are classes",
                first=first[-1], second=second[-1],
            )  # fmt: skip
    return None


def _by_name(survey: Survey, folder: Folder) -> dict[str, File]:
    return {normal(file.stem): file for file in survey.images if file.folder[: len(folder)] == folder}


def _alike(first: list[File], second: list[File]) -> bool:
    """Return whether most images of the first list are most like the image at the same place of the second."""
    small = [[_small(file) for file in files] for files in (first, second)]
    read = [[one for one in own if one is not None] for own in small]
    if any(len(one) < len(files) for one, files in zip(read, (first, second))):
        return False
    like = np.stack([one for one, _ in read[0]]) @ np.stack([one for one, _ in read[1]]).T
    own = np.diagonal(like)
    same_size = np.array([one[1] == other[1] for one, other in zip(*read)])
    if (same_size & (own > MIN_COPY)).mean() > 0.5:
        return False
    others = np.where(np.eye(len(like), dtype=bool), -1, like).max(1)
    return bool(((own > others) & (own > MIN_LIKE)).mean() >= MIN_BEST)


def _small(file: File) -> tuple[np.ndarray, tuple[int, int]] | None:
    """A small grey copy of mean 0 and length 1, and the image's size; None for unreadable images and plain ones."""
    try:
        with Image.open(file.path) as image:
            size = image.size
            image.draft("L", (4 * SIDE, 4 * SIDE))
            grey = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64).ravel()
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    grey = grey - grey.mean()
    length = float(np.linalg.norm(grey))
    return (grey / length, size) if length > 1 else None

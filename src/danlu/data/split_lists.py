"""Text files that list the images of each split: train.txt, val.txt, test.txt, CUB's or CelebA's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from danlu.data.dataset import TEST, TRAIN, UNASSIGNED, VAL, Problem
from danlu.data.files.image_file import IMAGE_SUFFIXES
from danlu.data.files.survey import File, Survey
from danlu.data.files.text_files import read_lines
from danlu.data.image_index import ImageIndex
from danlu.data.split_names import split_of
from danlu.message import message

PARTITIONS = {"0": TRAIN, "1": VAL, "2": TEST}
MAX_HELD_OUT = 0.6  # fraction of the images in lists without one of the training set
MIN_FOUND = 0.9  # fraction of the lines that name images, and of the images that are named


class SplitLists(NamedTuple):
    """splits: of each listed image. problems: lines whose image is not there."""

    splits: dict[Path, int]
    notes: list[str]
    problems: list[Problem]


def split_lists(survey: Survey, images: Iterable[Path]) -> SplitLists:
    """Splits of the images by the text files of a data set that list them.

    A line is the path of an image, with or without its extension ("apple_pie/1005649"). Without a list of the training
    set, the images that no list names are the training set. No split is returned for other lists that do not cover the
    images, or for a single list of the training set.
    """
    if (listed := _numbered(survey, images) or _partition(survey, images)) is not None:
        return listed
    lists: dict[int, list[File]] = {}
    for file in survey.of(".txt"):
        if (split := split_of(file.stem)) != UNASSIGNED:
            lists.setdefault(split, []).append(file)
    several = [files for files in lists.values() if len(files) > 1]
    if lists.keys() <= {TRAIN} or several:
        return SplitLists({}, [], [])
    wanted = set(images)
    index = ImageIndex([file for file in survey.images if file.path in wanted], survey.root)
    found: dict[Path, int] = {}
    lines = 0
    problems: list[Problem] = []
    for split, (file,) in sorted(lists.items()):
        for line in _names(file):
            lines += 1
            image = index.find(line, file.folder)
            if isinstance(image, str):
                problems.append(Problem(f"{file.relative} {line}", image))
            else:
                found[image.path] = split
    covering = len(found) >= MIN_FOUND * len(wanted) if TRAIN in lists else len(found) <= MAX_HELD_OUT * len(wanted)
    if not lines or len(problems) > max(1, (1 - MIN_FOUND) * lines) or not covering:
        return SplitLists({}, [], [])
    names = ", ".join(file.relative for files in lists.values() for file in files)
    if TRAIN not in lists:
        text = "{names} name the images of their split; the others are the training set"
        note = message("data.note.splits_without_train", text, names=names)
        return SplitLists({path: found.get(path, TRAIN) for path in wanted}, [note], problems)
    notes: list[str] = [message("data.note.splits", "the splits are those of {names}", names=names)]
    if left := len(wanted) - len(found):
        notes.append(message("data.note.images_none_lists", "{left} images are in none of these lists", left=left))
    return SplitLists(found, notes, problems)


def _numbered(survey: Survey, images: Iterable[Path]) -> SplitLists | None:
    """Splits by images.txt ("ID NAME") and train_test_split.txt ("ID 1" for training), as of CUB-200; else None."""
    tables = {file.name: file for file in survey.of(".txt") if file.name in ("images.txt", "train_test_split.txt")}
    if len(tables) < 2:
        return None
    names, flags = (_by_number(tables[name]) for name in ("images.txt", "train_test_split.txt"))
    if not names or not flags or not set(flags.values()) <= {"0", "1"}:
        return None
    wanted = set(images)
    index = ImageIndex([file for file in survey.images if file.path in wanted], survey.root)
    found: dict[Path, int] = {}
    problems: list[Problem] = []
    for number, name in names.items():
        image = index.find(name, tables["images.txt"].folder)
        if isinstance(image, str):
            problems.append(Problem(f"images.txt {number} {name}", image))
        elif number in flags:
            found[image.path] = TRAIN if flags[number] == "1" else TEST
    if len(found) < MIN_FOUND * len(wanted):
        return None
    notes: list[str] = [message("data.note.splits_train_test_split", "the splits are those of train_test_split.txt")]
    if any(file.name == "bounding_boxes.txt" for file in survey.files):
        notes.append(
            message(
                "data.note.bounding_boxes_txt_read",
                "bounding_boxes.txt is not read: the images are classified as a whole",
            )
        )
    if left := len(wanted) - len(found):
        notes.append(message("data.note.images_none_lists", "{left} images are in none of these lists", left=left))
    return SplitLists(found, notes, problems)


def _partition(survey: Survey, images: Iterable[Path]) -> SplitLists | None:
    """Splits by a list of an image and 0, 1 or 2 in each line, as list_eval_partition.txt of CelebA; else None."""
    for file in survey.of(".txt", ".csv"):
        lines = partition_lines(survey, file)
        if not lines:
            continue
        wanted = set(images)
        index = ImageIndex([one for one in survey.images if one.path in wanted], survey.root)
        found: dict[Path, int] = {}
        problems: list[Problem] = []
        for name, number in lines:
            image = index.find(name, file.folder)
            if isinstance(image, str):
                problems.append(Problem(f"{file.relative} {name}", image))
            else:
                found[image.path] = PARTITIONS[number]
        if len(found) >= MIN_FOUND * len(wanted):
            return SplitLists(found, [f"the splits are those of {file.relative}"], problems)
    return None


def partition_lines(survey: Survey, file: File) -> list[tuple[str, str]]:
    """The image and the number of its split in each line of a list called so; empty for other files."""
    if "partition" not in file.name.lower():
        return []
    lines = [line.replace(",", " ").split() for line in survey.lines(file)]
    if lines and file.suffix == ".csv" and lines[0][-1] not in PARTITIONS:
        lines = lines[1:]  # a header
    named = all(len(words) == 2 and words[1] in PARTITIONS for words in lines)
    return [(words[0], words[1]) for words in lines] if named else []


def _by_number(file: File) -> dict[str, str]:
    """The lines "ID TEXT" of a file by their ID, which is a number or a name."""
    try:
        pairs = [line.split(maxsplit=1) for line in read_lines(file.path)]
    except (OSError, UnicodeDecodeError):
        return {}
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}


def _names(file: File) -> list[str]:
    try:
        lines = [line.strip() for line in read_lines(file.path)]
    except (OSError, UnicodeDecodeError):
        return []
    named = [line for line in lines if line]
    with_suffix = any(Path(line).suffix.lower() in IMAGE_SUFFIXES for line in named[:20])
    # Of other text files, words are not looked for.
    return named if with_suffix or all("/" in line or " " not in line for line in named) else []

"""Find data beside those that are read: another data set in the same folder, other splits in the folder above."""

from __future__ import annotations

import os
from pathlib import Path

from danlu.data.dataset import TEST, TRAIN, UNASSIGNED, VAL, Dataset, ImageFiles
from danlu.data.files.image_file import IMAGE_SUFFIXES
from danlu.data.files.survey import Survey, normal, visible
from danlu.data.image_index import is_derived
from danlu.data.recognition import recognise
from danlu.data.sources.masks.mask_files import IMAGE_WORDS, is_mask_folder
from danlu.data.split_names import split_of
from danlu.message import Message, message
from danlu.refuse import Refusal

MAX_BESIDE = 50  # entries of a folder above that are looked at


def refuse_two_sets(survey: Survey, dataset: Dataset, name: str) -> None:
    """Raise Refusal if all images read lie in one folder, and another folder beside it is a data set of its own.

    name: of the format that was read.
    """
    if survey.is_file or not isinstance(dataset.inputs, ImageFiles):
        return
    read = {path.relative_to(survey.root).parts[0] for path in dataset.inputs.paths if survey.root in path.parents}
    if len(read) != 1 or not _may_be_a_set(own := read.pop()):
        return
    others = [folder[0] for folder in survey.subfolders() if folder[0] != own and _may_be_a_set(folder[0])]
    own_images = _names_and_sizes(survey, own) if others else set()
    for folder in others:
        if _names_and_sizes(survey, folder) <= own_images:
            continue
        if other := recognise(survey.root / folder):
            text = (
                "{path} holds two data sets, {own}/ ({format}) and {folder}/ ({other}): give the folder of the one "
                "that is meant, or use --format {flag} to read {own}/"
            )
            facts = {"own": own, "format": name, "folder": folder, "other": other, "flag": name.replace(" ", "-")}
            raise Refusal(message("data.refuse.two_sets", text, path=survey.path, **facts))


def _names_and_sizes(survey: Survey, folder: str) -> set[tuple[str, int]]:
    """Names of the images of a folder at the top, and their sizes in bytes: equal for copies."""
    paths = [file.path for file in survey.images if file.parts[0] == folder]
    return {(path.name, path.stat().st_size) for path in paths if path.exists()}


def _may_be_a_set(folder: str) -> bool:
    """Return whether a folder may be a data set of its own: its name means no split, images, masks or drawings."""
    other = normal(folder) in IMAGE_WORDS or is_mask_folder((folder,)) or is_derived(folder)
    return split_of(folder) == UNASSIGNED and not other


def splits_beside(path: Path, dataset: Dataset) -> list[Message]:
    """A note if `path` is the folder of a training set and those of other splits lie beside it."""
    if not path.is_dir() or dataset.given is not None or split_of(path.name) != TRAIN:
        return []
    try:
        beside = [one for one in os.scandir(path.resolve().parent) if visible(one.name) and one.is_dir()]
    except OSError:
        return []
    others = sorted(one.name for one in beside if split_of(one.name) in (VAL, TEST) and _has_images(one.path))
    if not others or len(beside) > MAX_BESIDE:
        return []
    text = "{other}/ lies beside {name}/ and is not read: give the folder above, {above}, to use its splits"
    return [message("data.note.splits_beside", text, other=others[0], name=path.name, above=path.parent)]


def _has_images(folder: str) -> bool:
    """Return whether one of the first files below a folder has the extension of an image."""
    for looked, (_, _, files) in enumerate(os.walk(folder)):
        if any(os.path.splitext(file)[1].lower() in IMAGE_SUFFIXES for file in files):
            return True
        if looked > MAX_BESIDE:
            break
    return False

"""Folders of images that are no classes: of persons, patients or videos, of masks of objects, of a program."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import permutations

from danlu.data.files.survey import File, Survey, normal
from danlu.data.sources.masks.mask_files import MASK_WORDS
from danlu.data.split_names import WORD
from danlu.message import Message, message

PATH = re.compile(r"[,;\t ]")  # what ends a path at the start of a line
FOLDER_SIDECARS = (".xml", ".json", ".mat", ".vbb", ".pts")  # annotations named like a folder of images
MIN_FOLDERS = 8  # with a single image each, where they are no classes
MOST_SINGLE = 0.8  # of the folders
GROUPS = {"video", "clip", "patient", "subject", "case", "sequence", "folder", "study", "scan", "slide", "person"}

MOST_MASKS = 0.9  # of a folder that are named after an image, and of these
MAX_MASK_FOLDERS = 12  # folders that are compared with one another
PROGRAM_FOLDERS = {"doc", "docs", "static", "assets", "icons", "screenshots", "public", "templates", "readme"}

Folder = tuple[str, ...]


def annotated_folders(survey: Survey) -> Message | None:
    """Files that label or annotate folders of images instead of images: MVI_20011.xml, a table of study1/ and 0."""
    folders = {file.folder for file in survey.images}
    names = {folder[-1] for folder in folders if folder}
    for suffix in FOLDER_SIDECARS:
        files = [file for file in survey.of(suffix) if file.stem in names]
        if len(files) > 1 and len(files) > 0.5 * len(folders):
            return _annotates(files[0], f"{files[0].stem}/")
    for file in survey.of(".csv", ".tsv", ".txt"):
        cells = [PATH.split(line.strip(" \"'"))[0].rstrip("/").split("/") for line in survey.lines(file)]
        first = cells[0][0].lower() if cells else ""
        if {word.lower() for word in WORD.findall(first)} & GROUPS and 2 * sum(p[-1] in names for p in cells) > len(
            cells
        ):
            return _annotates(file, f"{cells[1][-1]}/")
        found = [tuple(parts) for parts in cells if len(parts) > 1 and parts[-1] in names]
        listed = [parts for parts in found if any(folder[-2:] == parts[-2:] for folder in folders)]
        if len(listed) > 1 and len(listed) > 0.5 * len(cells):
            return _annotates(file, "/".join(listed[0]) + "/")
    return None


def _annotates(file: File, folder: str) -> Message:
    return message(
        "data.refuse.of_folders",
        "{file} annotates whole folders of images ({folder}), which is not read: write a csv with a row for each "
        "image, or use --format folder where each folder is a class",
        file=file.relative, folder=folder,
    )  # fmt: skip


def single_images(survey: Survey, folders: Sequence[Folder]) -> Message | None:
    """Many folders of which most hold a single image, as those of patients or persons."""
    places = {folder: normal(folder[-1]) for folder in folders}
    depths = {len(folder) for folder in folders}
    above = [place for file in survey.images for depth in depths if (place := places.get(file.folder[:depth]))]
    counts = Counter(above)
    alone = sum(count == 1 for count in counts.values())
    if len(counts) < MIN_FOLDERS or alone <= MOST_SINGLE * len(counts):
        return None
    text = (
        "{alone} of {count} folders hold a single image, as those of patients or persons: a csv with the columns image "
        "and label names the classes; use --format folder if each folder is a class"
    )
    return message("data.refuse.single_images", text, alone=alone, count=len(counts))


def masks_of_objects(survey: Survey, folders: list[Folder]) -> Message | None:
    """A folder of masks whose names are those of images in another folder, followed by a class or an object number."""
    for masks, images in permutations(folders, 2) if len(folders) <= MAX_MASK_FOLDERS else ():
        if not {word.lower() for word in WORD.findall(masks[-1])} & set(MASK_WORDS):
            continue
        names, stems = _inside(survey, masks), _inside(survey, images)
        owners = {name: stem for name in names for at in range(1, len(name))
                  if name[at] in "_- ." and (stem := name[:at]) in stems}  # fmt: skip
        if len(owners) >= MOST_MASKS * len(names) > 0 and len(set(owners.values())) >= MOST_MASKS * len(stems):
            name, stem = next(iter(owners.items()))
            return message(
                "data.refuse.masks_of_objects",
                "{masks}/ is called like a folder of masks and holds {mask} of {image} in {images}/: where it is the "
                "mask of one object, move those of each image to {masks}/{stem}/; use --format folder if these folders "
                "are classes",
                masks=masks[-1], images=images[-1], mask=names[name].name, image=stems[stem].name, stem=stem,
            )  # fmt: skip
    return None


def of_programs(survey: Survey, folders: list[Folder]) -> Message | None:
    """The reason to refuse folders that all have names which programs use for their images; None for others."""
    folders = [folder for folder in folders if _inside(survey, folder)]
    if not folders or not all(normal(folder[-1]) in PROGRAM_FOLDERS for folder in folders):
        return None
    return message(
        "data.refuse.of_programs",
        "{folders} are called like folders of the images of a program, not like classes; use --format folder if they "
        "are classes", folders=[f"{folder[-1]}/" for folder in folders[:4]],
    )  # fmt: skip


def _inside(survey: Survey, folder: Folder) -> dict[str, File]:
    """Images below a folder by their stems."""
    return {normal(file.stem): file for file in survey.images if file.folder[: len(folder)] == folder}

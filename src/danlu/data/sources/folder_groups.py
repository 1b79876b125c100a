"""Folders of images that stand for persons, patients or videos rather than for classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from danlu.data.split_names import WORD
from danlu.data.survey import File, Survey, normal
from danlu.message import Message, message

PATH = re.compile(r"[,;\t ]")  # what ends a path at the start of a line
FOLDER_SIDECARS = (".xml", ".json", ".mat", ".vbb", ".pts")  # annotations named like a folder of images
MIN_FOLDERS = 8  # with a single image each, where they are no classes
MOST_SINGLE = 0.8  # of the folders
GROUPS = {"video", "clip", "patient", "subject", "case", "sequence", "folder", "study", "scan", "slide", "person"}

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

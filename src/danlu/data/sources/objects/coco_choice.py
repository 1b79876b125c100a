"""Choice among several COCO files: those that repeat the images of others are not read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from danlu.data.dataset import UNASSIGNED
from danlu.data.files.survey import File
from danlu.message import message


class Named(Protocol):
    """A COCO file: its path, split and the names of its images."""

    file: File
    name: str
    split: int
    names: set[str]


F = TypeVar("F", bound=Named)


def without_persons(files: Sequence[F]) -> list[F]:
    """Drop files of the images of instances_*.json, as person_keypoints_*.json."""
    instances = [file for file in files if file.file.name.startswith("instances")]
    names = {name for file in instances for name in file.names}
    return [file for file in files if file in instances or not file.names or not file.names <= names]


def without_unions(files: Sequence[F], notes: list[str]) -> list[F]:
    """Drop files that repeat the images of files with split names (instances_all.json)."""
    split = [file for file in files if file.split != UNASSIGNED]
    names = {name for file in split for name in file.names}
    kept = []
    for file in files:
        if file.split == UNASSIGNED and len(split) > 1 and file.names and file.names <= names:
            notes.append(
                message(
                    "data.note.read_images",
                    "{file} is not read: its images are those of {listed}",
                    file=file.name,
                    listed=", ".join(f.name for f in split[:3]),
                )
            )
        else:
            kept.append(file)
    return kept

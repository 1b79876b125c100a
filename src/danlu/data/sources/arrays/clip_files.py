"""Class folders of clips that are one file each: the data set, whatever reads the files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from danlu.config import DataConfig
from danlu.data.clips import frame_numbers, frames_to_take
from danlu.data.dataset import Dataset, Problem
from danlu.data.files.image_file import UNREADABLE, reason_of
from danlu.data.files.survey import File, Survey
from danlu.data.images import read_image
from danlu.data.memory import check_memory
from danlu.data.sources.arrays.clips import MAX_SIDE, notes_on_frames, stop_if_many_bad
from danlu.data.sources.folders.class_layout import class_layout
from danlu.message import translated
from danlu.progress.stages import stage
from danlu.refuse import Refusal

Result = TypeVar("Result")
ReadFrames = Callable[[File, list[int]], Sequence[np.ndarray]]  # frames (H, W) or (H, W, C) of these numbers


@dataclass(frozen=True)
class ClipFacts:
    """Frames, channels, and shorter side in pixels of one clip."""

    frames: int
    channels: int
    side: int


Facts = TypeVar("Facts", bound=ClipFacts)


@dataclass(frozen=True)
class LabelledClips:
    """Files of clips with their class and split, and notes on files that are not read."""

    labels: dict[File, tuple[str, int]]
    notes: list[str]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in order."""
        return tuple(sorted({label for label, _ in self.labels.values()}))


def labelled_clips(survey: Survey, suffixes: Collection[str]) -> LabelledClips:
    """The files with these extensions in class folders, found as those of images are; none beside images."""
    if survey.is_file or survey.images:
        return LabelledClips({}, [])
    alike = replace(survey, image_suffixes=suffixes, memo={})
    layout = class_layout(alike)
    splits, found = ({} if layout.refuse else dict(layout.classes)), dict(layout.listed)
    for file in alike.images:
        above = (file.folder[:depth] for depth in range(1, len(file.folder) + 1))
        if (place := next((folder for folder in above if folder in splits), None)) is not None:
            found[file] = place[-1], splits[place]
    return LabelledClips(found, layout.notes)


def read_clips(
    survey: Survey,
    found: LabelledClips,
    config: DataConfig,
    format: str,
    facts_of: Callable[[File], Facts],
    reader: Callable[[dict[File, Facts]], ReadFrames],
) -> Dataset:
    """Read clips of T frames of one size as uint8 (N, T * C, S, S); T and S are those of the config, or chosen.

    facts_of: reads the facts of a file. reader: reads frames, made when all facts are known. A file for which one of
    them raises `UNREADABLE` is a problem; raises Refusal if more than 5 % of the clips are bad, unless config.on_bad
    is "skip".
    """
    files, problems = list(found.labels), list[Problem]()
    facts = _of_each(files, facts_of, translated("stage.checking_clips", "checking clips"), problems)
    stop_if_many_bad(survey.root, problems, len(files), config)
    lengths = [one.frames for one in facts.values()]
    count = frames_to_take(lengths, config.frames, str(survey.root))
    side = config.side or min(MAX_SIDE, int(median(one.side for one in facts.values())))
    one_channel = all(one.channels == 1 for one in facts.values())
    grey = one_channel if config.colour in (None, "all") else config.colour == "grey"
    check_memory(len(facts) * count * (1 if grey else 3) * side**2, "--size", side, f"{len(facts):,} clips")
    read = reader(facts)

    def clip(file: File) -> Tensor:
        frames = read(file, frame_numbers(facts[file].frames, count))
        return torch.from_numpy(np.concatenate([read_image(one, side, "grey" if grey else "rgb") for one in frames]))

    clips = _of_each(list(facts), clip, translated("stage.reading_clips", "reading clips"), problems)
    stop_if_many_bad(survey.root, problems, len(files), config)
    labels, names = [found.labels[file] for file in clips], [file.relative for file in clips]
    classes = tuple(sorted({label for label, _ in labels}))
    splits = torch.tensor([split for _, split in labels], dtype=torch.int8)
    return Dataset(
        path=str(survey.root),
        format=format,
        task="classify",
        inputs=torch.stack(list(clips.values())),
        frames=count,
        targets=torch.tensor([classes.index(label) for label, _ in labels], dtype=torch.int64),
        classes=classes,
        given=splits if len(splits.unique()) > 1 else None,
        name_of=lambda i: names[i],
        problems=problems,
        notes=[*found.notes, *notes_on_frames(lengths, count)],
    )


def _of_each(
    files: Sequence[File], result_of: Callable[[File], Result], text: str, problems: list[Problem]
) -> dict[File, Result]:
    """The result of each file that can be read; a problem is added for each of the others."""
    found: dict[File, Result] = {}
    with stage(text, len(files)) as work:
        for file in work.each(files):
            try:
                found[file] = result_of(file)
            except UNREADABLE as error:
                if isinstance(error, Refusal):
                    raise
                problems.append(Problem(file.relative, reason_of(error)))
    return found

"""Folders of clips: a class folder holds one folder of numbered frames per clip; or arrays of clips in an npz file."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from statistics import median

import numpy as np
import torch

from danlu.config import DataConfig
from danlu.data.clips import frame_numbers, frames_to_take
from danlu.data.dataset import Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.image_file import UNREADABLE, ImageInfo
from danlu.data.files.survey import File, Survey, as_survey
from danlu.data.image_workers import check_images, load_images
from danlu.data.images import read_image
from danlu.data.sources.arrays import npz
from danlu.data.sources.folders.class_layout import class_layout
from danlu.data.sources.folders.folder_guards import Folder, masks_not_classes
from danlu.data.sources.labelled_images.labelled import too_many_bad
from danlu.data.sources.tables.targets import Task
from danlu.message import message
from danlu.refuse import Refusal, refusal

NUMBER = re.compile(r"\d")
NUMBERED = re.compile(r"^(.*?)(\d+)$")
MIN_FRAMES = 3  # of a clip, to recognise it; fewer images can be similar by chance
MAX_SIDE = 112  # pixels, of clips by default
SAMPLED_CLIPS = 12  # whose frames are compared with each other
COMPARED_SIDE = 16  # pixels, to which frames are reduced for the comparison
MAX_CHANGE = 0.6  # from frame to frame, as a fraction of the difference between clips of one class


@dataclass
class _Clip:
    """One clip: its frames in the order of their numbers, its class and its split."""

    folder: Folder
    label: str
    split: int
    frames: list[Path] = field(default_factory=list)

    @property
    def name(self) -> str:
        return "/".join(self.folder)


def look(survey: Survey) -> Evidence | None:
    """Recognise class folders that hold only folders of numbered images, where successive images are similar."""
    if survey.is_file or not survey.images:
        return None
    found = _clips(survey)
    lengths = [len(one.frames) for one in found]
    classes = {one.label for one in found}
    if len(classes) < 2 or median(lengths) < MIN_FRAMES or len(found) < 2 * len(classes):
        return None
    if not any(NUMBER.search(one.folder[-1]) for one in found):
        return None  # as of kinds within a kind: animals/cat/, animals/dog/
    if masks_not_classes(survey) is not None or not _frames_alike(found):
        return None
    frames = str(lengths[0])
    if min(lengths) < max(lengths):
        frames = message("data.seen.numbers", "{low} to {high}", low=min(lengths), high=max(lengths))
    return Evidence(
        Fit.LAYOUT,
        message(
            "data.seen.clips",
            "{count} folders of {frames} numbered frames, each like the one before, in {classes} class folders",
            count=len(found),
            frames=frames,
            classes=len(classes),
        ),
    )


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read clips of T frames of one size as uint8 (N, T * C, S, S); T and S are those of the config, or chosen.

    Raises Refusal for other folders, and if more than 5 % of the clips are bad, unless config.on_bad is "skip".
    """
    survey = as_survey(path)
    if survey.is_file:
        return npz.open(survey.path, config, task, clips=True)
    found = _clips(survey)
    if not found:
        raise refusal(
            str(survey.root),
            message("data.wanted.folders_of_clips", "folders CLASS/CLIP of numbered frames (CLASS/CLIP/0001.jpg)"),
            message("data.got.another_layout", "another layout"),
        )
    count = frames_to_take([len(one.frames) for one in found], config.frames, str(survey.root))
    taken = [[one.frames[i] for i in frame_numbers(len(one.frames), count)] for one in found]
    infos = check_images([frames[0] for frames in taken], decode=False, workers=config.workers)
    first = [info for info in infos if isinstance(info, ImageInfo)]
    grey = all(info.grey for info in first) if config.colour in (None, "all") else config.colour == "grey"
    side = config.side or min(MAX_SIDE, int(median(min(info.height, info.width) for info in first or _NO_INFO)))
    flat = [frame for frames in taken for frame in frames]
    pixels, bad = load_images(flat, side, "grey" if grey else "rgb", config.workers)
    images = pixels.view(len(found), -1, side, side)
    problems = _problems(survey.root, found, taken, bad)
    stop_if_many_bad(survey.root, problems, len(found), config)
    named = {problem.where for problem in problems}
    good = [i for i, one in enumerate(found) if one.name not in named]
    classes = tuple(sorted({found[i].label for i in good}))
    splits = torch.tensor([found[i].split for i in good], dtype=torch.int8)
    return Dataset(
        path=str(survey.root),
        format="clips",
        task="classify",
        inputs=images[good],
        frames=count,
        targets=torch.tensor([classes.index(found[i].label) for i in good], dtype=torch.int64),
        classes=classes,
        given=splits if len(splits.unique()) > 1 else None,
        name_of=lambda i: found[good[i]].name,
        problems=problems,
        notes=notes_on_frames([len(one.frames) for one in found], count),
    )


_NO_INFO = (ImageInfo(MAX_SIDE, MAX_SIDE, True, True),)


def _clips(survey: Survey) -> list[_Clip]:
    """The clips below the class folders; none where class folders hold images themselves, or unnumbered ones."""
    layout = class_layout(survey)
    images: dict[Folder, list[File]] = {}
    for file in survey.images:
        images.setdefault(file.folder, []).append(file)
    found = []
    for place, split in layout.classes:
        if place in images:
            return []
        for inner, files in images.items():
            if inner[: len(place)] != place:
                continue
            frames = in_order(files)
            if len(inner) != len(place) + 1 or frames is None:
                return []
            found.append(_Clip(inner, place[-1], split, frames))
    return found


def in_order(files: list[File]) -> list[Path] | None:
    """Frames sorted by the number at the end of their names; None unless all share the text before it."""
    numbered = [(NUMBERED.match(file.stem), file) for file in files]
    if any(match is None for match, _ in numbered):
        return None
    keys = [(match.group(1), int(match.group(2)), file.path) for match, file in numbered if match is not None]
    numbers = {number for _, number, _ in keys}
    if len({text for text, _, _ in keys}) > 1 or len(numbers) < len(keys):
        return None
    return [path for _, _, path in sorted(keys)]


def _frames_alike(found: list[_Clip]) -> bool:
    """Return whether successive frames differ much less than the frames of different clips of a class, in a sample."""
    step = max(1, len(found) // SAMPLED_CLIPS)
    sampled = found[::step][: 2 * SAMPLED_CLIPS]
    within, middles = [], []
    for one in sampled:
        at = max(0, len(one.frames) // 2 - 1)
        try:
            pair = [_small(path) for path in one.frames[at : at + 2]]
        except UNREADABLE:
            continue  # reported when all clips are read
        within.append(np.abs(pair[0] - pair[-1]).mean())
        middles.append(pair[0])
    between = [np.abs(a - b).mean() for a, b in combinations(middles, 2)]
    return bool(between) and float(np.median(within)) < MAX_CHANGE * float(np.median(between))


def _small(path: Path) -> np.ndarray:
    return read_image(path, COMPARED_SIDE, "grey").astype(np.float32)


def _problems(root: Path, found: list[_Clip], taken: list[list[Path]], bad: list[Problem]) -> list[Problem]:
    """One problem for each clip with a frame that cannot be read."""
    reasons = {one.where: one.reason for one in bad}
    problems = []
    for clip, frames in zip(found, taken):
        broken = [frame for frame in frames if str(frame) in reasons]
        if broken:
            reason = message(
                "data.problem.frame",
                "frame {name}: {reason}",
                name=os.path.basename(broken[0]),
                reason=reasons[str(broken[0])],
            )
            problems.append(Problem(clip.name, reason))
    return problems


def stop_if_many_bad(root: Path, problems: Sequence[Problem], total: int, config: DataConfig) -> None:
    """Refuse more than 5 % of bad clips, unless config.on_bad is "skip" and some are good."""
    if (config.on_bad == "skip" and len(problems) < total) or not too_many_bad(len(problems), total):
        return
    raise Refusal(
        message(
            "data.refuse.clips_cannot_used",
            "{path}: {bad} of {total} clips cannot be used: {first} ({reason}); fix or remove them, or use --on-bad "
            "skip",
            path=root,
            bad=len(problems),
            total=total,
            first=problems[0].where,
            reason=problems[0].reason,
        )
    )


def notes_on_frames(lengths: Sequence[int], count: int) -> list[str]:
    """Notes on clips whose frames are skipped or repeated. lengths: number of frames of each."""
    longer, shorter = (sum(map(test, lengths)) for test in (count.__lt__, count.__gt__))
    notes = []
    if longer:
        notes.append(
            message(
                "data.note.evenly_spaced_frames_taken",
                "{count} evenly spaced frames are taken of {longer} longer clips (--data.frames)",
                count=count,
                longer=longer,
            )
        )
    if shorter:
        notes.append(
            message(
                "data.note.frames_clips_fewer_frames",
                "frames of {shorter} clips of fewer than {count} frames are repeated",
                shorter=shorter,
                count=count,
            )
        )
    return notes

"""Class folders of videos, each one clip: .mp4, .avi, .mov and the like; needs PyAV."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from danlu.config import DataConfig
from danlu.data.dataset import Dataset
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, as_survey, normal, surroundings
from danlu.data.files.video_file import VIDEOS, frames_at, video_info, video_library
from danlu.data.sources.arrays.clip_files import ClipFacts, labelled_clips, read_clips
from danlu.data.sources.tables.targets import Task
from danlu.message import message
from danlu.refuse import refusal

TABLES = (".csv", ".tsv", ".txt")
SEPARATORS = re.compile("[,;\t| \"']+")
MAX_PIXELS = 2**26  # of a frame; 8K video has 2**25


def look(survey: Survey) -> Evidence | None:
    """Recognise class folders of videos, without images beside them; a table of videos, and others, are refused."""
    around = surroundings(survey)
    files = around.of(*VIDEOS)
    if around.images or not files:
        return None
    found = labelled_clips(survey, VIDEOS)
    if len(found.classes) > 1:
        text = "{count} videos in {classes} class folders"
        seen = message("data.seen.videos", text, count=len(found.labels), classes=len(found.classes))
        return Evidence(Fit.LAYOUT, seen)
    into_folders = message(
        "data.videos.into_folders", "put the videos of each class into a folder of its own (CLASS/NAME.mp4)"
    )
    if (table := _table_of_videos(survey, files)) is not None:
        text = "{file} names videos, but videos get their labels from folders: {do}"
        why = message("data.refuse.table_of_videos", text, file=table, do=into_folders)
        seen = message("data.seen.table_of_videos", "{file} names videos", file=table)
        return Evidence(Fit.MARKED, seen, why)
    if survey.is_file:
        return None
    text = "{file} is a video without a label: {do}, or predict it with a trained run (`danlu predict RUN PATH`)"
    why = message("data.refuse.video_without_label", text, file=files[0].relative, do=into_folders)
    text = "{count} {count:video|videos} without class folders"
    return Evidence(Fit.POSSIBLE, message("data.seen.videos_without_classes", text, count=len(files)), why)


def _table_of_videos(survey: Survey, videos: list[File]) -> str | None:
    """The first table of which most rows name one of these videos, with its extension or without."""
    names = {normal(name) for video in videos for name in (video.name, video.stem)}
    for table in survey.of(*TABLES):
        rows = survey.lines(table)[1:]
        cells = [{normal(re.split(r"[/\\]", cell)[-1]) for cell in SEPARATORS.split(row)} for row in rows]
        if rows and sum(not names.isdisjoint(row) for row in cells) > len(rows) / 2:
            return table.relative
    return None


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read T evenly spaced frames of each video as uint8 (N, T * C, S, S); T and S are those of the config, or chosen.

    Raises Refusal if PyAV is missing, for other folders, and if more than 5 % of the videos are bad, unless
    config.on_bad is "skip".
    """
    survey = as_survey(path)
    found = labelled_clips(survey, VIDEOS)
    if not found.labels:
        wanted = message("data.wanted.videos", "class folders of videos (CLASS/NAME.mp4)")
        raise refusal(str(survey.root), wanted, message("data.got.another_layout", "another layout"))
    video_library(next(iter(found.labels)).path)
    return read_clips(survey, found, config, "videos", _facts, lambda facts: _frames)


def _facts(file: File) -> ClipFacts:
    info = video_info(file.path)
    if info.height * info.width > MAX_PIXELS:
        raise ValueError(f"frames of {info.width} x {info.height} pixels")
    return ClipFacts(info.frames, 3, min(info.height, info.width))


def _frames(file: File, numbers: list[int]) -> list[np.ndarray]:
    return frames_at(file.path, numbers)

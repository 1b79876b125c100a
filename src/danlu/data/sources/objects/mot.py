"""MOT Challenge: folders of frames with a table of boxes, gt/gt.txt beside img1/.

A line of gt.txt is: frame, identity, left, top, width, height, confidence, class, visibility; frames and pixels count
from 1. Lines with the confidence 0 are not evaluated and are left out, and the identities are not used. A table without
classes (MOT15) is one of pedestrians. https://motchallenge.net/instructions
"""

from __future__ import annotations

from pathlib import Path

from danlu.config import DataConfig
from danlu.data.dataset import Dataset
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, as_survey
from danlu.data.files.text_files import read_lines
from danlu.data.sources.labelled_images.labelled import wanted_task
from danlu.data.sources.labelled_images.reading import Reading
from danlu.data.sources.tables.targets import Task
from danlu.data.split_names import split_of_path
from danlu.message import message

FORM = "mot"
TABLE = "gt.txt"
FRAMES = "img1"  # folder of the frames, beside that of the table
CLASSES = {1: "pedestrian", 2: "person on vehicle", 3: "car", 4: "bicycle", 5: "motorbike", 6: "non motorised vehicle",
           7: "static person", 8: "distractor", 9: "occluder", 10: "occluder on the ground", 11: "occluder full",
           12: "reflection", 13: "crowd"}  # fmt: skip
MIN_FIELDS = 6  # up to the height
CLASS_FIELD = 7


def look(survey: Survey) -> Evidence | None:
    """Recognise gt/gt.txt of comma-separated numbers beside a folder of frames."""
    found = _tables(survey)
    if not found:
        return None
    text = "{count} {count:table|tables} of boxes by frame (MOT), such as {file}"
    return Evidence(Fit.MARKED, message("data.seen.mot", text, count=len(found), file=found[0].relative))


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` of all frames and the boxes of each; frames without a box are kept as background."""
    survey = as_survey(path)
    wanted = wanted_task(survey.path, task, masks=False)
    reading = Reading(survey, config, FORM)
    reading.box_form = "sized"
    left_out = 0
    for table in _tables(survey):
        folder = (*table.folder[:-1], FRAMES)
        split = split_of_path(table.folder)
        frames = {int(file.stem): file for file in survey.by_folder[folder] if file.stem.isdecimal()}
        for file in frames.values():
            reading.record(file, table.relative, split=split)
        for number, line in enumerate(read_lines(table.path), 1):
            if not line.strip():
                continue
            values = _numbers(line)
            if values is None or int(values[0]) not in frames:
                reading.skip(
                    f"{table.relative} line {number}",
                    message("data.problem.box_frame_there", "no box of a frame that is there"),
                )
                continue
            if len(values) > MIN_FIELDS and values[MIN_FIELDS] == 0:
                left_out += 1
                continue
            reading.entries += 1
            left, top, width, height = values[2:6]
            one = reading.record(frames[int(values[0])], table.relative, split=split)
            box = (left - 1, top - 1, left - 1 + width, top - 1 + height)
            reading.add(one, f"line {number}", _class_of(values), box)
    if left_out:
        reading.notes.append(
            message(
                "data.note.boxes_confidence_used",
                "{left_out} boxes with the confidence 0 are not used",
                left_out=left_out,
            )
        )
    return reading.finish(wanted)


def _tables(survey: Survey) -> list[File]:
    found = []
    for file in survey.of(".txt"):
        frames = (*file.folder[:-1], FRAMES)
        if file.name.lower() == TABLE and file.folder and frames in survey.by_folder:
            first = next(iter(survey.lines(file)), "")
            found += [file] if _numbers(first) is not None else []
    return found


def _numbers(line: str) -> list[float] | None:
    """Numbers of a line; None if they are too few, or no numbers."""
    try:
        found = [float(word) for word in line.split(",")]
    except ValueError:
        return None
    return found if len(found) >= MIN_FIELDS else None


def _class_of(values: list[float]) -> str:
    if len(values) <= CLASS_FIELD or values[CLASS_FIELD] < 1:
        return CLASSES[1]
    return CLASSES.get(int(values[CLASS_FIELD]), f"class {int(values[CLASS_FIELD])}")

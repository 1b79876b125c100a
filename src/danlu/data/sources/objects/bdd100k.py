"""BDD100K (Scalabel) json: a list of images with labels, or a file per image with its frames. Boxes are corners."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from danlu.config import DataConfig
from danlu.data.dataset import UNASSIGNED, Dataset
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, as_survey
from danlu.data.files.text_files import read_json
from danlu.data.sources.labelled_images.labelled import wanted_task
from danlu.data.sources.labelled_images.reading import Reading
from danlu.data.sources.tables.targets import Task
from danlu.data.split_names import split_of, split_of_path
from danlu.message import message
from danlu.refuse import Refusal

CORNERS = ("x1", "y1", "x2", "y2")


def look(survey: Survey) -> Evidence | None:
    """Recognise json of images with categories and box2d."""
    files = survey.json_kinds.get("bdd100k")
    if not files:
        return None
    return Evidence(Fit.MARKED, message("data.seen.bdd100k", "{file} is BDD100K json", file=files[0].relative))


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and boxes, with classes sorted by name; lanes and areas have no box and are counted."""
    survey = as_survey(path)
    wanted = wanted_task(survey.path, task, masks=False)
    reading = Reading(survey, config, "bdd100k")
    left_out: Counter[str] = Counter()
    for file in survey.json_of("bdd100k"):
        try:
            content = read_json(file.path, file.relative)
        except Refusal as error:
            reading.skip(file.relative, str(error))
            continue
        for k, entry in enumerate(content if isinstance(content, list) else [content]):
            _read(entry, f"{file.relative} [{k}]", file, reading, left_out)
    if left_out:
        listed = ", ".join(f"{count} {name}" for name, count in sorted(left_out.items()))
        reading.notes.append(
            message("data.note.labels_without_box_read", "labels without a box are not read: {listed}", listed=listed)
        )
    return reading.finish(wanted)


def _read(entry: Any, where: str, file: File, reading: Reading, left_out: Counter[str]) -> None:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        reading.skip(where, message("data.problem.image_name", "is no image with a name"))
        return
    split = split_of(file.stem)
    split = split if split != UNASSIGNED else split_of_path(file.folder)
    one = reading.image(entry["name"], where, near=file.folder, split=split)
    frames = entry.get("frames")
    rows = entry.get("labels") or []
    if isinstance(frames, list):
        rows = [row for frame in frames if isinstance(frame, dict) for row in frame.get("objects") or []]
    for i, row in enumerate(rows if one is not None and isinstance(rows, list) else (), 1):
        assert one is not None
        if not isinstance(row, dict):
            reading.skip(f"{where} label {i}", message("data.problem.is_no_label", "is no label"))
            continue
        label = str(row.get("category") or "").strip()
        if row.get("box2d") is None:
            left_out[label or "without a category"] += 1
            continue
        try:
            box = tuple(float(row["box2d"][key]) for key in CORNERS)
        except (KeyError, TypeError, ValueError):
            reading.skip(
                f"{where} label {i}",
                message(
                    "data.problem.box_must_numbers", "box2d must have the numbers {listed}", listed=", ".join(CORNERS)
                ),
            )
            continue
        reading.entries += 1
        reading.add(one, f"label {i}", label, box, fault="" if label else "no category")

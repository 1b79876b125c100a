"""CreateML: a json list of images with boxes, given by centre, width and height in pixels."""

from __future__ import annotations

from pathlib import Path

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


def look(survey: Survey) -> Evidence | None:
    """Recognise json lists of images with coordinates."""
    files = survey.json_kinds.get("createml")
    if not files:
        return None
    return Evidence(Fit.MARKED, message("data.seen.createml", "{file} is CreateML json", file=files[0].relative))


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and annotations, with classes sorted by name."""
    survey = as_survey(path)
    wanted = wanted_task(survey.path, task, masks=False)
    reading = Reading(survey, config, "createml")
    for file in survey.json_of("createml"):
        _read(file, reading)
    return reading.finish(wanted)


def _read(file: File, reading: Reading) -> None:
    content = read_json(file.path, str(file.path))
    if not isinstance(content, list):
        raise Refusal(
            message(
                "data.refuse.list_images_createml_writes",
                "{path} must be a list of images, as CreateML writes it",
                path=file.path,
            )
        )
    split = split_of(file.stem)
    split = split if split != UNASSIGNED else split_of_path(file.folder)
    for k, entry in enumerate(content):
        if not isinstance(entry, dict):
            reading.skip(
                f"{file.relative} [{k}]", message("data.problem.image_annotations", "is no image with annotations")
            )
            continue
        name = entry.get("image") or entry.get("imagefilename")
        one = reading.image(
            str(name or ""), f"{file.relative} [{k}]", near=file.folder, split=split, source=file.relative
        )
        annotations = entry.get("annotations") or entry.get("annotation") or []
        for i, annotation in enumerate(annotations if one is not None else (), 1):
            where = f"{file.relative} {name} annotation {i}"
            try:
                label = str(annotation["label"]).strip()
                box = annotation["coordinates"]
                x, y, width, height = (float(box[key]) for key in ("x", "y", "width", "height"))
            except (KeyError, TypeError, ValueError):
                reading.skip(
                    where,
                    message(
                        "data.problem.must_label_coordinates_width",
                        "must have a label and coordinates x, y, width, height",
                    ),
                )
                continue
            reading.entries += 1
            edges = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            assert one is not None
            reading.add(one, f"annotation {i}", label, edges, fault="" if label else "no label")

"""Labels of whole images by tools that draw objects too: LabelMe's flags and CVAT's tags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from danlu.config import DataConfig
from danlu.data.dataset import Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, as_survey
from danlu.data.files.text_files import read_json
from danlu.data.sources.objects import cvat, labelme
from danlu.data.sources.tables.label_entries import open_entries
from danlu.data.sources.tables.label_values import Entry
from danlu.data.sources.tables.targets import Task
from danlu.data.split_names import split_of_path
from danlu.message import message
from danlu.refuse import Refusal
from danlu.task_spec import TASKS


def look_flags(survey: Survey) -> Evidence | None:
    """Recognise LabelMe's json files with flags and without shapes."""
    if not labelme.has_only_flags(survey):
        return None
    count = len(survey.json_kinds["labelme"])
    seen = message("data.seen.labelme_flags", "{files} .json files of LabelMe with flags of images", files=count)
    return Evidence(Fit.MARKED, seen)


def look_tags(survey: Survey) -> Evidence | None:
    """Recognise CVAT's xml files with tags and without shapes."""
    if not cvat.has_only_tags(survey):
        return None
    file = cvat.xml_files(survey)[0]
    return Evidence(Fit.MARKED, message("data.seen.cvat_tags", "{file} holds CVAT's tags", file=file.relative))


def open_flags(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and the flags that are set of each image."""
    survey = as_survey(path)
    entries, problems = [], []
    for file in survey.json_of("labelme"):
        try:
            content = read_json(file.path, file.relative)
        except Refusal as error:
            problems.append(Problem(file.relative, str(error)))
            continue
        if not isinstance(content, dict):
            problems.append(Problem(file.relative, message("data.problem.labelme_json", "is no LabelMe json")))
            continue
        name = str(content.get("imagePath") or file.stem)
        entries.append(Entry(name, file.relative, file.folder, labelme.flags_of(content), split_of_path(file.folder)))
    return _open(survey, "labelme flags", entries, config, task, problems)


def open_tags(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and the tags of each image."""
    survey = as_survey(path)
    entries = [entry for file in cvat.xml_files(survey) for entry in _tagged(file)]
    return _open(survey, "cvat tags", entries, config, task, [])


def _open(
    survey: Survey, form: str, entries: Sequence[Entry], config: DataConfig, task: Task | None, problems: list[Problem]
) -> Dataset:
    several = any(len(one.labels) > 1 for one in entries) if task is None else TASKS[task].several_labels
    return open_entries(survey, form, entries, several, config, task, [], problems)


def _tagged(file: File) -> Iterator[Entry]:
    for image in cvat.images_of(file):
        labels = tuple(dict.fromkeys((tag.get("label") or "").strip() for tag in image.iter("tag")))
        where = f"{file.relative} image {image.get('id', '')}"
        yield Entry(image.get("name", ""), where, file.folder, labels, cvat.split_of_image(image, file))

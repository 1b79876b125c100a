"""A file of the class beside each image, NAME.cls beside NAME.jpg: the shards of WebDataset, unpacked."""

from __future__ import annotations

from pathlib import Path

from danlu.config import DataConfig
from danlu.data.dataset import Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, as_survey, normal
from danlu.data.sources.tables.class_lists import class_list, names_of
from danlu.data.sources.tables.label_entries import open_entries
from danlu.data.sources.tables.label_values import Entry
from danlu.data.sources.tables.targets import Task
from danlu.data.split_names import split_of_path
from danlu.message import message

FORM = "class files"
SUFFIX = ".cls"
NAME_LISTS = ("classnames.txt",)  # of WebDataset's exports of CLIP benchmarks
MIN_NAMED = 0.5  # fraction of the images with such a file


def look(survey: Survey) -> Evidence | None:
    """Recognise files that end in .cls and are named like the images beside them."""
    files = [] if survey.is_file else _class_files(survey)
    if not files or len(files) < MIN_NAMED * len(survey.images):
        return None
    text = "{count} .cls files, named like the images beside them"
    return Evidence(Fit.MARKED, message("data.seen.class_files", text, count=len(files)))


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and the class in each file: a name, or a number of a list of names."""
    survey = as_survey(path)
    entries, problems = [], []
    for file in _class_files(survey):
        label = " ".join(survey.lines(file)).strip()
        if label:
            entries.append(Entry(file.stem, file.relative, file.folder, (label,), split_of_path(file.folder)))
        else:
            problems.append(Problem(file.relative, message("data.problem.no_class", "no class")))
    listed = [file for file in survey.files if file.name.lower() in NAME_LISTS]
    names = names_of(listed[0].path) if listed else class_list(survey)
    return open_entries(survey, FORM, entries, False, config, task, [], problems, class_names=names or None)


def _class_files(survey: Survey) -> list[File]:
    return [file for file in survey.of(SUFFIX) if normal(file.stem) in survey.image_stems]

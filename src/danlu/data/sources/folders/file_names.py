"""Classes in the names of the files: cat.0.jpg, great_dane_12.jpg, 0042-rust.png.

The class is the name without the numbers and separators at its ends. Cameras and tools name their files alike
(IMG_0042.jpg), so this is read on request only: without --format, the names are evidence for the refusal.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from danlu.config import DataConfig
from danlu.data.dataset import TRAIN, UNASSIGNED, Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import Survey, as_survey
from danlu.data.sources.tables.label_entries import open_entries
from danlu.data.sources.tables.label_values import Entry
from danlu.data.sources.tables.targets import Task
from danlu.data.split_names import split_of_path
from danlu.message import Message, message

FORM = "file names"
ENDS = re.compile(r"^[\d\W_]+|[\d\W_]+$")  # numbers and separators around the class
MIN_OF_WORD = 2  # images whose names hold a word that may be their class
MIN_FRACTION = 0.9  # of the images, whose names hold such a word
MAX_LISTED = 6  # words in a message


def look(survey: Survey) -> Evidence | None:
    """Refuse images whose names hold one of a few words each, with the flag that reads these as classes."""
    refuse = advice_on_names(survey)
    if refuse is None:
        return None
    return Evidence(Fit.POSSIBLE, message("data.seen.file_names", "names of images that may hold classes"), refuse)


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and the classes in their names. An image named by a number is a problem, or unlabelled in a
    validation or test set."""
    survey = as_survey(path)
    entries, problems, unlabelled = [], [], 0
    for file in survey.images:
        split = split_of_path(file.folder)
        if name := class_of(file.stem):
            entries.append(Entry(file.name, file.relative, file.folder, (name,), split))
        elif split in (TRAIN, UNASSIGNED):
            problems.append(Problem(file.relative, message("data.problem.name_holds_class", "its name holds no class")))
        else:
            unlabelled += 1
    text = (
        "{count} {count:image has no class in its name|images have no class in their names}: used for "
        "prediction, not read"
    )
    notes = [message("data.nameless", text, count=unlabelled)] if unlabelled else []
    return open_entries(survey, FORM, entries, False, config, task, list(map(str, notes)), problems)


def class_of(stem: str) -> str:
    """The class in the name of a file without its ending: "great_dane_12" -> "great_dane"; "" for a number."""
    return ENDS.sub("", stem)


def advice_on_names(survey: Survey) -> Message | None:
    """The words in the names of nearly all images, several each, and how to read them as classes; None without such."""
    images = [file for file in survey.images if split_of_path(file.folder) in (TRAIN, UNASSIGNED)]
    counts = Counter(class_of(file.stem) for file in images)
    words = sorted(word for word, count in counts.items() if word and count >= MIN_OF_WORD)
    if len(words) < 2 or sum(counts[word] for word in words) < MIN_FRACTION * len(images):
        return None
    text = "the names of the images hold {words}: if these are their classes, use --format file-names, or move the "
    text += "images of each into a folder of its own"
    return message("data.do.classes_in_names", text, words=words[:MAX_LISTED])

"""Name what may hold the labels of images, in a form that no reader knows: files beside them, and their names."""

from __future__ import annotations

import re
from collections import Counter

from danlu.data.dataset import TRAIN, UNASSIGNED
from danlu.data.sources.sheets import sheets_in
from danlu.data.split_names import split_of_path
from danlu.data.survey import Survey, normal
from danlu.message import Message, message

WITHOUT_LABEL = "lines of json without a known key for the label"
FORMS = {
    ".mat": "a MATLAB file",
    ".xlsx": "a spreadsheet",
    ".xls": "a spreadsheet",
    ".ods": "a spreadsheet",
    ".manifest": "the manifest of SageMaker Ground Truth",
    ".odgt": "CrowdHuman's list of boxes",
    ".ndjson": WITHOUT_LABEL,
    ".jsonl": WITHOUT_LABEL,
    ".pkl": "pickled Python objects",
    ".pickle": "pickled Python objects",
    ".npy": "a NumPy array",
    ".h5": "an HDF5 file",
    ".hdf5": "an HDF5 file",
    ".csv": "a table that names no image that is there",
    ".tsv": "a table that names no image that is there",
}
NUMBERED = re.compile(r"([^\W\d_][^\d]*?)[._ -]*\d+")  # the stem of an image called by its class and a number
MIN_OF_WORD = 2  # images whose names begin with a word, at least, where it may be their class
MOST_IMAGES = 0.9  # of them, that are called so
SUBMISSION = "submission"  # in the name of Kaggle's example of an answer, whose labels are made up


def unread_labels(survey: Survey) -> Message | None:
    """Why the images have no labels although a file beside them may hold these; None without such a file."""
    read = {sheet.file for sheet in sheets_in(survey) if sheet.found}
    for suffix, form in FORMS.items():
        files = [file for file in survey.of(suffix) if SUBMISSION not in file.name.lower() and file not in read]
        if files:
            return message(
                "data.refuse.unread_labels",
                "{file} may hold the labels of the {images} images, but it is {form}, which is not read: write a csv "
                "with the columns image and label, or image, xmin, ymin, xmax, ymax and label",
                file=files[0].relative, images=len(survey.images), form=form,
            )  # fmt: skip
    return _lines_without_names(survey)


def _lines_without_names(survey: Survey) -> Message | None:
    """Why a text file with as many lines as there are images gives them no labels."""
    names = survey.image_stems.keys() | {normal(file.name) for file in survey.images}
    for file in survey.of(".txt"):
        lines = survey.lines(file)
        if len(lines) == len(survey.images) > 1 and not any(normal(line.split()[0]) in names for line in lines):
            text = "{file} has a line for each of the {images} images, but does not name them: write the name of its "
            text += "image before each label"
            return message("data.refuse.lines_without_names", text, file=file.relative, images=len(lines))
    return None


def classes_in_names(survey: Survey) -> list[str]:
    """Words that the names of nearly all images begin with, several each, as in cat.0.jpg; none if they do not."""
    images = [file for file in survey.images if split_of_path(file.folder) in (TRAIN, UNASSIGNED)]
    found = [NUMBERED.fullmatch(file.stem) for file in images]
    words = Counter(one[1] for one in found if one)
    often = sorted(word for word, count in words.items() if count >= MIN_OF_WORD)
    covered = sum(words[word] for word in often)
    return often if len(often) > 1 and covered >= MOST_IMAGES * len(images) else []


def advice_on_labels(survey: Survey) -> Message:
    """Advice on images of one class, or of none."""
    if why := unread_labels(survey):
        return why
    if words := classes_in_names(survey):
        text = "the names of the images begin with {words}: if these are their classes, move the images of each into "
        text += "a folder of its own"
        return message("data.do.classes_in_names", text, words=words[:6])
    return message(
        "data.do.folder_per_class",
        "the images of each class belong in a folder of their own, or a csv with the columns image and label names "
        "their classes",
    )

"""Name what may hold the labels of images, in a form that no reader knows: files beside them, and their names."""

from __future__ import annotations

import re

from danlu.data.files.survey import File, Survey, normal
from danlu.data.sources.folders.file_names import advice_on_names
from danlu.data.sources.tables.sheets import sheets_in
from danlu.message import Message, message

TEXT = re.compile(r'"([^"\\\\]{1,200})"')
FIELD = re.compile(r"[\s,;]+")
WITHOUT_LABEL = "lines of json without a known key for the label (--target KEY names it)"
FORMS = {
    ".mat": "a MATLAB file",
    ".xlsx": "a spreadsheet",
    ".xls": "a spreadsheet",
    ".ods": "a spreadsheet",
    ".manifest": "the manifest of SageMaker Ground Truth",
    ".lst": "a list of MXNet (number, label, path)",
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
SUBMISSION = "submission"  # in the name of Kaggle's example of an answer, whose labels are made up


def unread_labels(survey: Survey) -> Message | None:
    """Why the images have no labels although a file beside them may hold these; None without such a file."""
    read = {sheet.file for sheet in sheets_in(survey) if sheet.found}
    for suffix, form in FORMS.items():
        files = [file for file in survey.of(suffix) if SUBMISSION not in file.name.lower() and file not in read]
        if files:
            return _unread(files[0], survey, form)
    return _keys_of_json(survey) or _lines_without_names(survey)


def _keys_of_json(survey: Survey) -> Message | None:
    """A json file of an unknown form whose texts are the names of images without their endings."""
    for file in survey.json_kinds.get("other", ()):
        found = {normal(text) for text in TEXT.findall(survey.head(file).decode("utf-8", "replace"))}
        if len(found & survey.image_stems.keys()) > max(2, 0.5 * min(len(found), len(survey.images))):
            return _unread(file, survey, "json of an unknown form")
    return None


def _unread(file: File, survey: Survey, form: str) -> Message:
    return message(
        "data.refuse.unread_labels",
        "{file} may hold the labels of the {images} images, but it is {form}, which is not read: write a csv "
        "with the columns image and label, or image, xmin, ymin, xmax, ymax and label",
        file=file.relative, images=len(survey.images), form=form,
    )  # fmt: skip


def _lines_without_names(survey: Survey) -> Message | None:
    """Why a text file with as many lines as there are images gives them no labels."""
    names = survey.image_stems.keys() | {normal(file.name) for file in survey.images}
    for file in survey.of(".txt"):
        lines = survey.lines(file)
        first = {normal(FIELD.split(line.strip())[0]) for line in lines}
        if len(lines) == len(survey.images) > 1 and not first & names:
            text = "{file} has a line for each of the {images} images, but does not name them: write the name of its "
            text += "image before each label"
            return message("data.refuse.lines_without_names", text, file=file.relative, images=len(lines))
    return None


def advice_on_labels(survey: Survey) -> Message:
    """Advice on images of one class, or of none."""
    if why := unread_labels(survey):
        return why
    if words := advice_on_names(survey):
        return words
    return message(
        "data.do.folder_per_class",
        "the images of each class belong in a folder of their own, or a csv with the columns image and label names "
        "their classes",
    )

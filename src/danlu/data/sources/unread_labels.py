"""Name the files beside images that may hold their labels, in a form that no reader knows."""

from __future__ import annotations

from danlu.data.survey import Survey
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
SUBMISSION = "submission"  # in the name of Kaggle's example of an answer, whose labels are made up


def unread_labels(survey: Survey) -> Message | None:
    """Why the images have no labels although a file beside them may hold these; None without such a file."""
    for suffix, form in FORMS.items():
        files = [file for file in survey.of(suffix) if SUBMISSION not in file.name.lower()]
        if files:
            return message(
                "data.refuse.unread_labels",
                "{file} may hold the labels of the {images} images, but it is {form}, which is not read: write a csv "
                "with the columns image and label, or image, xmin, ymin, xmax, ymax and label",
                file=files[0].relative, images=len(survey.images), form=form,
            )  # fmt: skip
    return None

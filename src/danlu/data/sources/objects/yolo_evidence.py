"""Evidence of YOLO: data.yaml, obj.data, or label files with the names of images."""

from __future__ import annotations

from pathlib import Path

from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, normal, sample
from danlu.data.files.text_files import decode_text
from danlu.data.sources.objects import label_lines
from danlu.data.sources.objects.yolo_files import find_darknet, find_yaml, is_darknet, is_yaml
from danlu.data.sources.objects.yolo_labels import OTHER_TEXTS, LabelFiles
from danlu.message import message

MIN_LABELLED = 0.1  # fraction of images with a label file; fewer do not outweigh other annotations


def look(survey: Survey) -> Evidence | None:  # noqa: PLR0911
    """Recognise data.yaml, obj.data, or label files with the names of images."""
    if survey.is_file:
        if is_yaml(survey.path) or is_darknet(survey.files[0], survey):
            return Evidence(
                Fit.MARKED, message("data.seen.yolo_file", "{file} lists classes and splits", file=survey.path.name)
            )
        return None
    if (description := find_yaml(survey)) is not None and not _has_corners_only(survey):
        seen = message("data.seen.yolo_file", "{file} lists classes and splits", file=description.relative)
        return Evidence(Fit.MARKED, seen)
    if (darknet := find_darknet(survey)) is not None:
        seen = message("data.seen.darknet", "{file} is Darknet's list of classes and splits", file=darknet.relative)
        return Evidence(Fit.MARKED, seen)
    texts = [file for file in survey.of(".txt") if file.name.lower() not in OTHER_TEXTS]
    if not survey.images:
        return _without_images(survey, texts)
    paired = [file for file in texts if normal(file.stem) in survey.image_stems]
    filled = [file for file in sample(paired, 200) if survey.head(file).strip()]
    labels = [file for file in filled[:50] if _is_labels(survey, file)]
    if not labels or len(labels) < 0.5 * len(filled[:50]):
        return None
    finder = LabelFiles(survey)
    if not any(finder(image.path) for image in sample(survey.images, 500)):
        return None
    seen = message("data.seen.yolo", "{files} .txt label files with the names of images", files=len(paired))
    few = len(paired) < MIN_LABELLED * len(survey.images)  # a list of boxes beside them may be meant
    return Evidence(Fit.CONVERTED if few else Fit.MARKED, seen)


def _without_images(survey: Survey, texts: list[File]) -> Evidence | None:
    """Recognise label files whose images lie elsewhere."""
    looked = sample(texts, 50)
    labels = [file for file in looked if _is_labels(survey, file)]
    if len(labels) < 3 or len(labels) < 0.5 * len(looked):
        return None
    seen = message("data.seen.yolo_labels", "{count} .txt label files without images", count=len(texts))
    why = message(
        "data.refuse.labels_alone", "{count} .txt files (first: {first}) are YOLO's labels, but there are no images: "
        "give a folder that holds them too", count=len(texts), first=labels[0].relative,
    )  # fmt: skip
    return Evidence(Fit.MARKED, seen, why)


def _has_corners_only(survey: Survey) -> bool:
    """Return whether all labels beside a data.yaml are DOTA's corners, as in exports of oriented boxes."""
    return label_lines.look_dota(survey) is not None and not any(
        _is_labels(survey, file) for file in sample(survey.of(".txt"), 200)
    )


def _is_labels(survey: Survey, file: File) -> bool:
    """Return whether the first line of a text file is an integer and at least four numbers."""
    return _is_label_line(next(iter(survey.lines(file)), ""))


def reads_as_labels(file: Path) -> bool:
    """Return whether the first line of a file that is in no survey is that of a label file."""
    try:
        with file.open("rb") as stream:
            text = decode_text(stream.readline())
    except (OSError, ValueError):
        return False
    return _is_label_line(text)


def _is_label_line(line: str) -> bool:
    try:
        label, *numbers = map(float, line.split())
    except ValueError:
        return False
    # Coordinates are fractions of the image, whereas lines of KITTI and MOT have pixels.
    return label.is_integer() and len(numbers) >= 4 and all(-1 <= value <= 2 for value in numbers[:4])

"""YOLO: a label file per image, and data.yaml or obj.data with the classes and the splits.

A line is "class cx cy w h" or "class x1 y1 x2 y2 ..." (a polygon), in fractions of the image's width and height. An
image without label file (`yolo_labels.py`) has no objects, unless its whole split has no label files.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from danlu.config import DataConfig
from danlu.data.annotations import Polygons
from danlu.data.dataset import SPLITS, TEST, UNASSIGNED, VAL, Dataset, Problem
from danlu.data.files.image_file import extensions
from danlu.data.files.links import Fence
from danlu.data.files.survey import Survey, as_survey, normal
from danlu.data.files.survey import survey as walk
from danlu.data.files.text_files import read_lines
from danlu.data.image_index import ImageIndex
from danlu.data.sources.labelled_images.audit import assemble
from danlu.data.sources.labelled_images.described_paths import DescribedPaths
from danlu.data.sources.labelled_images.labelled import Labelled, Thing, relative, wanted_task
from danlu.data.sources.labelled_images.reading import stop_if_many_bad
from danlu.data.sources.objects.yolo_evidence import reads_as_labels
from danlu.data.sources.objects.yolo_files import (
    check_other_yamls,
    classes_of,
    find_darknet,
    find_yaml,
    images_by_yaml,
    load_yaml,
    read_darknet,
    refuse_several_sets,
    unread_keys,
)
from danlu.data.sources.objects.yolo_labels import OTHER_TEXTS, LabelFiles
from danlu.data.sources.tables.class_lists import class_list
from danlu.data.sources.tables.targets import Task
from danlu.data.split_lists import split_lists
from danlu.data.split_names import split_of_path
from danlu.message import Message, message
from danlu.refuse import Refusal, blame, refusal

MIN_KEYPOINT_LINES = 5  # fewer lines are no evidence of keypoints


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and annotations, with classes in the order of their numbers.

    Raises Refusal for an invalid key, and if more than 5 % of the lines are invalid, unless config.on_bad is "skip".
    """
    survey = as_survey(path)
    root = survey.root
    labels = LabelFiles(survey)
    notes: list[str] = []
    missing: list[Problem] = []  # images that are listed and not there
    around = walk(root, partly=True, follow_links=survey.follow_links) if survey.is_file else survey
    paths = DescribedPaths(Fence.around(root, survey.follow_links), ImageIndex.of(around))
    classes, listed, shape_of_points = _described(survey, labels, paths, notes, missing)
    listed, unlabelled = _labelled_splits(listed, labels, notes)
    reader = _Reader(root, labels, len(classes) if classes else None, shape_of_points)
    found = [reader(image, split) for image, split in listed]
    points_found = not shape_of_points and _are_keypoints(reader.outlines)
    if shape_of_points or points_found:
        text = "each line is taken as a box and its keypoints, which are not read"
        notes.append(message("data.note.each_line_taken_box", text))
    if points_found:
        reader = _Reader(root, labels, len(classes) if classes else None, True)
        found = [reader(image, split) for image, split in listed]
    _refuse_numbers_from_1(survey.path, found, classes)
    notes += _shared_labels([image for image, _ in listed], labels, root)
    problems = reader.problems
    stop_if_many_bad(survey.path, len(problems), reader.lines, problems, config)
    problems += paths.usable(survey.path, len(listed), config)
    problems += missing + [
        Problem(relative(file, root), message("data.problem.missing_image", "missing image"))
        for file in _orphans((i for i, _ in listed), labels)
    ]
    if not classes:
        classes = [str(k) for k in range(1 + max((t.label for one in found for t in one.things), default=-1))]
    notes += reader.notes()
    if listed and len(reader.unlabelled) == len({image for image, _ in listed}):
        raise Refusal(
            message(
                "data.refuse.none_images_label_file",
                "{path}: none of {listed} images has a label file such as {expected}",
                path=survey.path,
                listed=len(listed),
                expected=labels.expected(listed[0][0]),
            )
        )
    task = wanted_task(survey.path, task, masks=reader.polygons > 0)
    dataset = assemble(survey.path, "yolo", found, classes, config, task, problems, notes, "centred")
    return replace(dataset, unlabelled=unlabelled)


def _described(
    survey: Survey, labels: LabelFiles, paths: DescribedPaths, notes: list[str], missing: list[Problem]
) -> tuple[list[str], list[tuple[Path, int]], bool]:
    """Class names, images with their splits, and whether lines have keypoints: by data.yaml, obj.data or the folders.

    missing: gets the images that are listed and not there.
    """
    description = survey.path if survey.is_file else (found.path if (found := find_yaml(survey)) else None)
    if description is not None and description.suffix.lower() in (".yaml", ".yml"):
        content = load_yaml(description)
        classes = classes_of(description, content)
        notes += unread_keys(description, content) + check_other_yamls(survey, description, classes)
        of_folders = None if survey.is_file else partial(_listed, survey, labels)
        return classes, images_by_yaml(description, content, paths, of_folders, notes), "kpt_shape" in content
    if (darknet := find_darknet(survey)) is not None:
        return *read_darknet(darknet, paths), False
    listed = _listed(survey, labels)
    if all(split == UNASSIGNED for _, split in listed):
        lists = split_lists(survey, [image for image, _ in listed])
        listed = [(image, lists.splits.get(image, UNASSIGNED)) for image, _ in listed]
        notes += lists.notes
        missing += lists.problems
    return class_list(survey), listed, False


def _labelled_splits(
    listed: list[tuple[Path, int]], labels: LabelFiles, notes: list[str]
) -> tuple[list[tuple[Path, int]], tuple[int, ...]]:
    """Remove the images of validation and test splits without any label file; returns the others and these splits."""
    has = {split: False for _, split in listed}
    for image, split in listed:
        has[split] = has[split] or labels(image) is not None
    for split, labelled in has.items():
        if not labelled and any(has.values()) and split in (VAL, TEST):
            count = sum(own == split for _, own in listed)
            notes.append(
                message(
                    "data.note.images_split_label_files",
                    "the {count} {count:image|images} of the {split} split "
                    "{count:has no label file|have no label files}: for prediction, not read",
                    count=count,
                    split=SPLITS[split],
                )
            )
    without = tuple(split for split in (VAL, TEST) if any(has.values()) and not has.get(split, True))
    return [(image, split) for image, split in listed if split not in without], without


class _Reader:
    """Reader of label files. classes: their number, None if no file names them. points: lines have keypoints."""

    def __init__(self, root: Path, labels: LabelFiles, classes: int | None, points: bool) -> None:
        self.root, self.labels, self.classes, self.points = root, labels, classes, points
        self.polygons = self.oriented = self.lines = 0
        self.outlines: list[list[float]] = []  # numbers of the polygons
        self.problems: list[Problem] = []  # files and lines that cannot be read
        self.unlabelled: set[Path] = set()  # images without label file

    def notes(self) -> list[Message]:
        """Notes on images without a label file, and on objects given by four corners."""
        found = []
        if self.unlabelled:
            text = "{count} {count:image has|images have} no label file: treated as without objects"
            found.append(message("data.note.images_label_file_treated", text, count=len(self.unlabelled)))
        if self.oriented:
            text = (
                "{count} {count:object is|objects are} given by four corners, which "
                "{count:its box encloses|their boxes enclose}"
            )
            found.append(message("data.note.objects_of_four_corners", text, count=self.oriented))
        return found

    def __call__(self, image: Path, split: int) -> Labelled:
        file = self.labels(image)
        one = Labelled(image, relative(self.labels.expected(image), self.root), split=split, fractions=True)
        if file is None:
            self.unlabelled.add(image)
            return one
        try:
            lines = read_lines(file)
        except (UnicodeDecodeError, ValueError):
            self.lines += 1
            self.problems.append(
                Problem(
                    one.where,
                    message(
                        "data.problem.must_lines_numbers_text", "must be lines of numbers as text, got other bytes"
                    ),
                )
            )
            return one
        except OSError as error:
            raise blame(error, str(file)) from None
        for number, line in enumerate(lines, 1):
            if words := line.split():
                self.lines += 1
                try:
                    one.things.append(self._thing(words, f"{file} line {number}", number))
                except Refusal as error:
                    where = f"{file} line {number}"
                    self.problems.append(Problem(f"{one.where} line {number}", str(error).replace(where, "it")))
        return one

    def _thing(self, words: list[str], where: str, number: int) -> Thing:
        try:
            label, *values = (float(word) for word in words)
        except ValueError:
            raise refusal(
                where, message("data.wanted.class_numbers", "a class and numbers"), " ".join(words)[:60]
            ) from None
        if self.points:
            values = values[:4]
        if len(values) != 4 and (len(values) < 6 or len(values) % 2):
            wanted = message(
                "data.wanted.class_numbers_class_least",
                "a class and 4 numbers, or a class and the x and y of at least 3 corners",
            )
            raise refusal(where, wanted, message("data.got.numbers", "{count} numbers", count=len(words)))
        if not (math.isfinite(label) and label == int(label)):
            raise refusal(f"the class of {where}", message("data.wanted.integer", "an integer"), words[0])
        fault = ""
        if label < 0 or (self.classes is not None and label >= self.classes):
            fault = message(
                "data.problem.unknown_class_of",
                "unknown class: {number} of {classes}",
                number=int(label),
                classes=self.classes if self.classes is not None else "any",
            )
        elif label >= 100_000:  # without class names there is a class for every number up to the largest
            raise refusal(f"the class of {where}", message("data.wanted.class_number", "a class number"), words[0])
        name = f"line {number}"
        if len(values) == 4:
            cx, cy, w, h = values
            return Thing(name, int(label), (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), fault=fault)
        self.polygons += 1
        self.outlines.append(values)
        self.oriented += len(values) == 8
        ring = np.array(values, np.float64).reshape(-1, 2)
        box = (*ring.min(axis=0).tolist(), *ring.max(axis=0).tolist())
        return Thing(name, int(label), box, shape=Polygons((ring,)), fault=fault)


def _refuse_numbers_from_1(path: Path, found: Iterable[Labelled], classes: list[str]) -> None:
    """Raise Refusal if the class numbers of the labels are 1 to K instead of 0 to K - 1."""
    numbers = {thing.label for one in found for thing in one.things}
    if classes and numbers and min(numbers) == 1 and max(numbers) == len(classes):
        raise Refusal(
            message(
                "data.refuse.labels_class_numbers_classes",
                "{path}: the labels have class numbers 1 to {classes}, but the {classes} classes are "
                "numbered 0 to {classes2} ({classes3} is 0): subtract 1 in the label files",
                path=path,
                classes=len(classes),
                classes2=len(classes) - 1,
                classes3=classes[0],
            )
        )


def _shared_labels(images: list[Path], labels: LabelFiles, root: Path) -> list[str]:
    """A note about different images (a.jpg and a.png) that have the same label file."""
    owners: dict[Path, set[Path]] = {}
    for image in images:
        if (file := labels(image)) is not None:
            owners.setdefault(file, set()).add(image)
    shared = {file: sorted(own) for file, own in owners.items() if len(own) > 1}
    if not shared:
        return []
    file, own = next(iter(shared.items()))
    names = " and ".join(image.name for image in own[:3])
    return [f"{len(shared)} label files are those of several images each (first: {relative(file, root)} of {names})"]


def _are_keypoints(outlines: list[list[float]]) -> bool:
    """Return whether lines taken as polygons are boxes (centre and size) and keypoints inside them."""
    counts = {len(values) for values in outlines}
    if len(outlines) < MIN_KEYPOINT_LINES or len(counts) > 1 or min(counts) <= 8:
        return False
    rows = np.array(outlines, np.float64)
    centre, size = rows[:, None, :2], rows[:, None, 2:4]
    if (size <= 0).any() or (np.abs(centre - 0.5) + size / 2 > 0.51).any():
        return False
    for step in (2, 3):  # x, y, or x, y, visibility
        if (rows.shape[1] - 4) % step:
            continue
        points = rows[:, 4:].reshape(len(rows), -1, step)
        seen = step == 2 or bool(np.isin(points[..., 2:], (0, 1, 2)).all())
        inside = (np.abs(points[..., :2] - centre) <= size * 0.55).all(-1) | (points[..., :2] == 0).all(-1)
        if seen and inside.all():
            return True
    return False


def _orphans(images: Iterable[Path], labels: LabelFiles) -> list[Path]:
    """List label files without image, in the folders of the other label files."""
    folders: dict[Path, set[Path]] = {}
    for image in images:
        folders.setdefault(labels.expected(image).parent, set()).add(image.parent)
    found = []
    for folder, places in folders.items():
        beside = folder in places  # the folder may contain other text files
        there = {normal(p.stem) for place in places if place.is_dir() for p in place.iterdir()
                 if p.suffix.lower() != ".txt"}  # fmt: skip
        named = [f for f in sorted(folder.glob("*.txt")) if not beside or reads_as_labels(f)] if there else []
        found += [f for f in named if normal(f.stem) not in there and f.name.lower() not in OTHER_TEXTS]
    return [file for file in found if not file.name.startswith(".")]


# --- listing of the images ----------------------------------------------------------------------------------------


def _listed(survey: Survey, labels: LabelFiles) -> list[tuple[Path, int]]:
    """List images and their split: of folders with labelled images, and of other splits beside these folders."""
    refuse_several_sets(survey)
    folders = {}
    for folder, files in survey.by_folder.items():
        images = [file for file in files if file.suffix in extensions()]
        if images:
            folders[folder] = images
    with_labels = {folder for folder, images in folders.items() if any(labels(file.path) for file in images)}
    shapes = {tuple(part for part in folder if split_of_path((part,)) == UNASSIGNED) for folder in with_labels}
    found = []
    for folder, images in folders.items():
        # images/test without labels beside images/train is a split; other folders of images are not.
        alike = tuple(part for part in folder if split_of_path((part,)) == UNASSIGNED) in shapes
        if folder in with_labels or (alike and split_of_path(folder) != UNASSIGNED):
            found += [(file.path, split_of_path(folder)) for file in images]
    return found

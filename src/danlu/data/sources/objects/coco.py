"""COCO json: boxes, polygons, run lengths and crowds. One file, or a folder with one file per split.

Format: https://cocodataset.org/#format-data. A box is [x, y, width, height]; category ids may have gaps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from danlu.config import DataConfig
from danlu.data.dataset import TRAIN, UNASSIGNED, Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import File, Survey, as_survey
from danlu.data.files.survey import survey as walk
from danlu.data.files.text_files import read_json
from danlu.data.sources.labelled_images.labelled import Labelled, wanted_task
from danlu.data.sources.labelled_images.reading import Reading
from danlu.data.sources.objects.coco_choice import without_persons, without_unions
from danlu.data.sources.objects.coco_entry import (
    EntryError,
    area_of_corners,
    corners_of,
    id_of,
    image_name,
    name_of,
    outline_of,
    rotation_of,
    short,
    size_of,
    text_of,
)
from danlu.data.sources.tables.targets import Task
from danlu.data.split_names import split_of, split_of_path
from danlu.message import message
from danlu.refuse import NOTHING, Refusal, refusal
from danlu.task_spec import TASKS

OTHERS = {  # other kinds of COCO files -> their content
    "coco captions": "captions",
    "coco keypoints": "keypoints without boxes",
    "coco panoptic": "panoptic segments",
    "coco images": "image names without annotations",
    "coco results": "detections of a model",
}
FALSE = (
    None,
    False,
    0,
    0.0,
    "",
    "0",
    "0.0",
    "false",
    "False",
    "no",
)  # values of iscrowd in different tools


def look(survey: Survey) -> Evidence | None:
    """Recognise json files with COCO's keys."""
    kinds = survey.json_kinds
    if files := kinds.get("coco"):
        total = len(survey.of(".json"))
        seen = message(
            "data.seen.coco", "{files} of {total} .json files are COCO annotations", files=len(files), total=total
        )
        return Evidence(Fit.MARKED, seen)
    if survey.is_file and survey.path.suffix.lower() == ".json" and not set(kinds) - {"broken", "other", "list"}:
        # A single json file of an unknown kind: report the COCO keys that it lacks.
        return Evidence(Fit.POSSIBLE, message("data.seen.json", "it is a .json file"))
    for kind, what in OTHERS.items():
        if files := kinds.get(kind):
            seen = message("data.seen.coco_other", "{file} is COCO json of {what}", file=files[0].relative, what=what)
            why = message(
                "data.refuse.coco_other", "{file} is COCO json of {what}; COCO json is read where it holds bounding "
                "boxes or masks of objects", file=files[0].relative, what=what,
            )  # fmt: skip
            return Evidence(Fit.MARKED, seen, why)
    return None


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and annotations of all json files; file and folder names define the splits.

    Raises Refusal for a file that is cut or lacks a key, and when more than 5 % of its entries cannot be used.
    """
    survey = as_survey(path)
    task = wanted_task(survey.path, task, masks=True)
    named = [survey.files[0]] if survey.is_file else survey.json_kinds.get("coco") or survey.of(".json")
    named = named if survey.is_file else [*named, *(file for file in survey.cut_json if file not in named)]
    if survey.is_file:
        survey = _around(survey)
        named = [File(survey.path, survey.path.relative_to(survey.root).parts)]
    files = [_File(file) for file in named]
    notes = _name_training_set(files)
    files.sort(key=lambda file: file.split % 4)  # training set first
    reading = Reading(survey, config, "coco", [name for file in files for name in file.categories.values()])
    reading.box_form = "sized"
    reading.notes += notes
    reading.labels = {name: k for k, name in enumerate(reading.labels)}
    for file in without_unions(without_persons(files), reading.notes):
        file.read(reading, TASKS[task].masks)
    return reading.finish(task)


def _name_training_set(files: Sequence[_File]) -> list[str]:
    """Take a file without a split as the training set where others hold other splits: instances.json beside
    val_instances.json. Returns a note on it."""
    splits = {file.split for file in files}
    unnamed = [file for file in files if file.split == UNASSIGNED]
    if len(splits) == 1 or TRAIN in splits or not unnamed:
        return []
    for file in unnamed:
        file.split = TRAIN
    text = "{file} holds the training set, since the others are named as other splits"
    return [message("data.note.unnamed_training_set", text, file=unnamed[0].name)]


def checked(path: Path, outlines: bool = True) -> dict[str, Any]:
    """Read the single annotation file at `path` and check its keys as `open` does, without looking for its images.

    outlines: check these too. Raises Refusal if there is no such file, more than one, or a faulty entry.
    """
    survey = as_survey(path)
    files = [survey.files[0]] if survey.is_file else survey.json_kinds.get("coco", [])
    if len(files) != 1:
        names = [file.name for file in files[:4]] or [NOTHING]
        got = message("data.got.holds", "{path}, which holds {names}", path=path, names=names)
        raise refusal(
            "DATA",
            message("data.wanted.coco_annotation_file_folder", "a COCO annotation file, or a folder with one of them"),
            got,
        )
    one = _File(files[0])
    try:
        for where, entry in one.entries("images"):
            id_of(entry, "id", where)
            text_of(entry, "file_name", where)
        for where, entry in one.entries("annotations"):
            for key in ("image_id", "category_id"):
                id_of(entry, key, where)
            corners_of(entry, where, None)
            if outlines and (fault := outline_of(entry, where)[1]):
                raise EntryError(f"{where}.{fault}")
        for where, entry in one.entries("categories"):
            if "name" not in entry:
                raise EntryError(f"{where}.name must be given, got 'no such key'")
    except EntryError as error:
        raise Refusal(f"{files[0].path}: {error}") from None
    return one.content


def _around(survey: Survey) -> Survey:
    """Survey the folder of a json file, or the parent of annotations/, to find its images."""
    base = survey.path.parent
    if base.name.lower() in ("annotations", "annotation", "labels"):
        base = base.parent
    return replace(walk(base, partly=True, follow_links=survey.follow_links), path=survey.path)


class _File:
    """One json file with its top-level keys checked.

    categories: id -> name, by id. names: of the image files. split: by its name or folder.
    """

    def __init__(self, file: File) -> None:
        self.file = file
        self.name = file.relative
        self.content = read_json(file.path, str(file.path))
        if not isinstance(self.content, dict):
            kind = repr(self.content)[:40]
            if isinstance(self.content, list):
                kind = message("data.got.list_of_results", "a list, as of results")
            raise Refusal(
                message(
                    "data.refuse.coco_object_images_annotations",
                    "{path} must be a COCO object with images, annotations and categories, got {kind}",
                    path=file.path,
                    kind=kind,
                )
            )
        for key in ("images", "annotations", "categories"):
            if key not in self.content:
                raise refusal(
                    f"{file.path}: key {key!r}",
                    message("data.wanted.coco", "there"),
                    message("data.got.no_such_key", "no such key"),
                    near=[],
                )
            if not isinstance(self.content[key], list):
                raise refusal(f"{file.path}: {key}", message("data.wanted.list", "a list"), short(self.content[key]))
        self.split = split_of(file.stem)
        if self.split == UNASSIGNED:
            self.split = split_of_path(file.folder)
        self.notes: list[str] = []
        self.faulty: set[Any] = set()  # ids of unusable images, whose objects are skipped
        self.categories = self._categories()
        self.names = {name_of(entry) for entry in self.content["images"] if isinstance(entry, dict)}

    def _categories(self) -> dict[Any, str]:
        names: dict[Any, str] = {}
        try:
            for where, entry in self.entries("categories"):
                number = id_of(entry, "id", where)
                name = str(entry.get("name", number)).strip()
                if names.get(number, name) != name:
                    raise EntryError(f"{where}.id must be unique, got {number!r} for {name!r} too")
                names[number] = name
        except EntryError as error:
            raise Refusal(f"{self.file.path}: {error}") from None
        if not names:
            raise Refusal(
                message(
                    "data.refuse.coco_define_least_class_objects",
                    "{path} must define at least one class of objects in categories, got none",
                    path=self.file.path,
                )
            )
        twice = [name for name, n in Counter(names.values()).items() if n > 1]
        if twice:
            self.notes.append(
                message(
                    "data.note.categories_of_one_name",
                    "{file}: categories of one name are one class ({name!r})",
                    file=self.name,
                    name=twice[0],
                )
            )
        return dict(sorted(names.items(), key=lambda pair: (isinstance(pair[0], str), pair[0])))

    def read(self, reading: Reading, outlines: bool) -> None:
        """Add all images with their objects to `reading`. outlines: including masks."""
        reading.notes += self.notes
        found: dict[Any, Labelled | None] = {}
        names: dict[Any, str] = {}
        absolute = 0
        taken: set[int] = set()
        for where, entry in self.entries("images", reading):
            try:
                number, name = id_of(entry, "id", where), image_name(entry, where)
                if number in found:
                    reason = "id {!r} is given twice" if names[number] == name else "id {!r} is given to two images"
                    raise EntryError(f"{where}.{reason.format(number)}")
            except EntryError as error:
                self.faulty.add(self._loose_id(entry))
                reading.skip(f"{self.name}", str(error))
                continue
            absolute += name.startswith("/") or name[1:3] in (":\\", ":/")
            names[number] = name
            one = reading.image(
                name, self.name, near=self._near(name), split=self.split, size=size_of(entry), source=self.name
            )
            if one is not None and id(one) in taken:
                reading.problems.append(
                    Problem(
                        f"{self.name} {where} {name}", message("data.problem.listed_twice", "is listed twice"), "kept"
                    )
                )
            taken.add(id(one))
            found[number] = one
        if absolute:
            reading.notes.append(
                message(
                    "data.note.absolute_paths",
                    "{file}: {count} "
                    "{count:image is named by an absolute path|images are named by absolute paths}; looked for by name",
                    file=self.name,
                    count=absolute,
                )
            )
        self._add_objects(reading, found, outlines)

    def _loose_id(self, entry: dict[str, Any]) -> Any:
        try:
            return id_of(entry, "id", "")
        except EntryError:
            return None

    def _near(self, name: str) -> tuple[str, ...]:
        """Folders to search first for the images of a file: its own, or train2017/ for instances_train2017.json."""
        stem = self.file.stem.partition("_")[2] or self.file.stem
        return (*self.file.folder[:-1], stem) if self.file.folder[-1:] == ("annotations",) else self.file.folder

    def _add_objects(self, reading: Reading, found: dict[Any, Labelled | None], outlines: bool) -> None:
        seen: Counter[Any] = Counter()
        retyped = False
        boxed = corners = turned = 0
        for where, entry in self.entries("annotations", reading):
            name = f"annotation {entry['id']}" if "id" in entry else where
            try:
                image, category = id_of(entry, "image_id", where), id_of(entry, "category_id", where)
                shape, fault = outline_of(entry, where)
                box = corners_of(entry, where, shape)
            except EntryError as error:
                reading.skip(f"{self.name} {name}" if name != where else self.name, str(error))
                continue
            if image in self.faulty:
                continue
            if image not in found:
                reading.skip(
                    f"{self.name} {name}",
                    message(
                        "data.problem.image_id_unknown",
                        "image_id {number} is of no image",
                        number=repr(entry["image_id"]),
                    ),
                )
                continue
            one = found[image]
            if one is None:
                continue  # its image is missing and already reported
            reading.entries += 1
            if fault and outlines:
                reading.problems.append(Problem(f"{self.name} {name}", fault, "kept"))
            boxed += 1
            turned += shape is None and bool(rotation_of(entry))
            corners += area_of_corners(entry)
            label = self.categories.get(category)
            wrong = "" if label is not None else f"unknown class: category_id {entry['category_id']!r}"
            retyped |= label is not None and not isinstance(entry["category_id"], int)
            crowd = entry.get("iscrowd") not in FALSE or entry.get("ignore") not in FALSE
            reading.add(one, name, label or "", box, shape if outlines else None, ignore=crowd, fault=wrong)
            if "id" in entry and isinstance(entry["id"], int | str):
                seen[entry["id"]] += 1
        if corners > 1 and corners > 0.5 * boxed and reading.config.on_bad != "skip":
            raise Refusal(
                message(
                    "data.refuse.bbox_holds_x1_y1",
                    "{path}: bbox holds x1, y1, x2, y2 by the area of {corners} of {boxed} objects, where x, "
                    "y, width, height are expected: convert it, or use --on-bad skip",
                    path=self.file.path,
                    corners=corners,
                    boxed=boxed,
                )
            )
        if turned:
            text = "{rotated} rotated boxes are read as the boxes around them"
            reading.notes.append(message("data.note.rotated_boxes_read_boxes", text, rotated=turned))
        if retyped:
            reading.notes.append(
                message(
                    "data.note.category_ids_as_text",
                    "{file}: category ids written as text or with a decimal point are taken as integers",
                    file=self.name,
                )
            )
        self._odd_ids(reading, seen)

    def _odd_ids(self, reading: Reading, seen: Counter[Any]) -> None:
        if seen.get(0):
            reason = message(
                "data.problem.annotation_id_coco_own",
                "annotation id 0: COCO's own evaluation takes id 0 for no match, ids begin at 1",
            )
            reading.problems.append(Problem(f"{self.name} annotation 0", reason, "kept"))
        for number, times in seen.items():
            if times > 1:
                reason = message(
                    "data.problem.id_given_annotations",
                    "id {number!r} is given to {times} annotations",
                    number=number,
                    times=times,
                )
                reading.problems.append(Problem(f"{self.name} annotation {number}", reason, "kept"))

    def entries(self, key: str, reading: Reading | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Iterate over (place, entry) of a list; invalid entries are skipped by `reading`, else raise EntryError."""
        for i, entry in enumerate(self.content[key]):
            where = f"{key}[{i}]"
            if isinstance(entry, dict):
                yield where, entry
            elif reading is None:
                raise EntryError(f"{where} must be an object with keys, got {short(entry)!r}")
            else:
                reading.skip(
                    f"{self.name} {where}",
                    message(
                        "data.problem.must_object_keys_got",
                        "must be an object with keys, got {entry!r}",
                        entry=short(entry),
                    ),
                )

"""Images and their labels, as tables and other files give them, as a Dataset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from danlu.config import DataConfig
from danlu.data.dataset import TRAIN, UNASSIGNED, Dataset, Problem
from danlu.data.files.image_file import ImageInfo
from danlu.data.files.survey import Survey, surroundings
from danlu.data.image_index import ImageIndex
from danlu.data.image_workers import check_images
from danlu.data.sources.labelled_images.labelled import image_files, of_one_depth
from danlu.data.sources.labelled_images.reading import one_form, stop_if_many_bad
from danlu.data.sources.tables.class_lists import names_in_json
from danlu.data.sources.tables.label_sets import label_matrix
from danlu.data.sources.tables.label_values import Entry, values_and_task, without_placeholders
from danlu.data.sources.tables.targets import Task, to_classes, to_numbers
from danlu.data.split_lists import split_lists
from danlu.data.split_names import split_of, splits_of_folders
from danlu.message import message
from danlu.refuse import Refusal
from danlu.task_spec import TASKS, label_task


class _Labelling(NamedTuple):
    """Labels, split and place of one image."""

    labels: tuple[str, ...]
    split: int
    where: str


def open_entries(
    data: Survey,
    form: str,
    entries: Sequence[Entry],
    several: bool,
    config: DataConfig,
    task: Task | None,
    notes: list[str],
    problems: Iterable[Problem] = (),
    label_names: Iterable[str] = (),
    class_names: Sequence[str] | None = None,
    column: str | None = None,
) -> Dataset:
    """Find the images of the entries and create the Dataset.

    several: an image can have several labels. problems: entries that could not be read. label_names: further labels
    that no image may have. class_names: of labels that are class numbers, None where labels stay as they are written.
    column: name of that of the labels, as for `values_and_task`.

    Raises Refusal for an image with two labels unless `several`, and when more than 5 % of the entries are bad.
    """
    index = ImageIndex.of(surroundings(data))
    problems = list(problems)
    entries, unlabelled = (entries, ()) if several else without_placeholders(entries, notes)
    bad, total = len(problems), len(problems) + len(entries)
    found: dict[Path, _Labelling] = {}
    for one in entries:
        file = index.find(one.image, one.near, one.split)
        if isinstance(file, str) or not (several or one.labels):
            bad += 1
            why = file if isinstance(file, str) else message("data.problem.no_label", "no label")
            problems.append(Problem(f"{one.where} ({one.image})", why))
            continue
        labels = tuple(map(one_form, one.labels))
        before = found.get(file.path)
        if before is not None and several:
            labels = tuple(dict.fromkeys((*before.labels, *labels)))
        elif before is not None:
            _refuse_other_label(one, labels, before)
            twice = message("data.problem.image_listed_twice", "{image} is listed twice", image=one.image)
            problems.append(Problem(one.where, twice, "kept"))
        found[file.path] = _Labelling(labels, one.split, one.where)
    stop_if_many_bad(data.path, bad, total, problems, config)
    if class_names is not None:
        found = _with_class_names(found, class_names, notes)
    elif not several and (task is None or TASKS[task].has_classes):
        found = _with_names_of_json(found, surroundings(data), notes)
    classes = {*map(one_form, label_names), *(label for one in found.values() for label in one.labels)}
    dataset = _dataset(
        data, form, found, sorted(classes) if several else None, config, task, problems, notes + index.notes(), column
    )
    return replace(dataset, unlabelled=unlabelled)


def _refuse_other_label(one: Entry, labels: tuple[str, ...], before: _Labelling) -> None:
    """Raise Refusal for an image that was given another label before, where an image has one."""
    if before.labels == labels:
        return
    text = (
        "{where}: {image} is labelled {labels!r} here and {labels2!r} in {where2}; --task {label_task} reads both as "
        "labels of the image"
    )
    facts = {"where": one.where, "image": one.image, "labels": labels[0], "labels2": before.labels[0]}
    facts |= {"where2": before.where, "label_task": label_task(True)}
    raise Refusal(message("data.refuse.labelled_here_task_reads", text, **facts))


def _with_class_names(
    found: dict[Path, _Labelling], classes: Sequence[str], notes: list[str]
) -> dict[Path, _Labelling]:
    """Labels that are class numbers replaced by the names of a list of classes, or of the folders of the images."""
    labels = {label for one in found.values() for label in one.labels}
    names = dict(enumerate(classes))
    if not labels or not all(label.isdecimal() for label in labels):
        return found
    named_folders = {path: path.parent.name for path in found if split_of(path.parent.name) == UNASSIGNED}
    folders = {(label, named_folders[path]) for path in named_folders for label in found[path].labels}
    if max(map(int, labels)) in names:
        named = {label: names[int(label)] for label in labels}
    elif 1 < len(labels) == len(folders) == len({folder for _, folder in folders}):
        named = dict(folders)
    else:
        return found
    return _renamed(found, named, notes)


def _renamed(found: dict[Path, _Labelling], named: dict[str, str], notes: list[str]) -> dict[Path, _Labelling]:
    """The images with the names of their labels, and a note."""
    label, name = min(named.items())
    text = "labels are numbers and get the names of their classes ({label} is {name})"
    notes.append(str(message("data.labels_named", text, label=label, name=repr(name))))
    return {path: one._replace(labels=tuple(named[label] for label in one.labels)) for path, one in found.items()}


def _with_names_of_json(found: dict[Path, _Labelling], data: Survey, notes: list[str]) -> dict[Path, _Labelling]:
    """Labels that are class numbers replaced by the names in a json of number -> name, as Kaggle's sets have it."""
    labels = {label for one in found.values() for label in one.labels}
    named, _ = names_in_json(data, labels) if labels and all(map(str.isdecimal, labels)) else ({}, "")
    return _renamed(found, named, notes) if named else found


def _dataset(
    data: Survey,
    form: str,
    found: dict[Path, _Labelling],
    label_names: Sequence[str] | None,
    config: DataConfig,
    task: Task | None,
    problems: list[Problem],
    notes: list[str],
    column: str | None,
) -> Dataset:
    """label_names: of all labels, where an image can have several; else None."""
    paths = list(found)
    infos = of_one_depth(check_images(paths, workers=config.workers))
    broken = [Problem(_relative(p, data), info) for p, info in zip(paths, infos) if isinstance(info, str)]
    stop_if_many_bad(data.path, len(broken), len(paths), broken, config)
    good = [(p, info) for p, info in zip(paths, infos) if isinstance(info, ImageInfo)]
    kept = tuple(p for p, _ in good)
    if all(one.split == UNASSIGNED for one in found.values()):
        of_images = splits_of_folders(kept, data.root)
        if not of_images:
            lists = split_lists(surroundings(data), kept)
            of_images = lists.splits
            notes, problems = notes + lists.notes, problems + lists.problems
        found = {p: found[p]._replace(split=of_images.get(p, UNASSIGNED)) for p in kept}
    labels = [found[p].labels for p in kept]
    splits = torch.tensor([found[p].split for p in kept], dtype=torch.int8)
    classes: tuple[str, ...]
    if label_names is not None:
        decided, classes, targets = label_task(True), tuple(label_names), label_matrix(labels, label_names)
    else:
        values, decided = values_and_task([one[0] for one in labels], task, str(data.path), column, notes)
        targets, classes = to_classes(values) if TASKS[decided].has_classes else (to_numbers(values, "label"), ())
    return Dataset(
        path=str(data.path),
        format=form,
        task=decided,
        inputs=image_files(kept, [info for _, info in good], config, notes),
        targets=targets,
        classes=classes,
        target_names=() if TASKS[decided].has_classes else ("label",),
        given=splits if TRAIN in splits.tolist() and len(splits.unique()) > 1 else None,
        name_of=lambda i: _relative(kept[i], data),
        problems=[*problems, *broken],
        notes=notes,
    )


def _relative(path: Path, data: Survey) -> str:
    try:
        return path.relative_to(data.root).as_posix()
    except ValueError:
        return str(path)

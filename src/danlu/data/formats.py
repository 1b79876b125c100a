"""Open a path, in the format recognised (`recognition.py`), or the name of a known dataset as a Dataset."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from danlu.config import DataConfig
from danlu.data.absent import no_data, no_such_data
from danlu.data.annotations import Annotation
from danlu.data.class_folders import beside_class_folders
from danlu.data.data_root import data_root
from danlu.data.dataset import TEST, UNASSIGNED, VAL, Dataset, ImageFiles, Problem
from danlu.data.drawn_maps import semantic_from_objects
from danlu.data.evidence import Fit
from danlu.data.files.image_file import IMAGE_SUFFIXES
from danlu.data.files.links import check_ordinary
from danlu.data.files.pointers import refuse_pointers
from danlu.data.files.survey import Survey, survey
from danlu.data.files.text_files import NotTextError
from danlu.data.format_table import FORMATS
from danlu.data.known_sets import GENERATED, KNOWN, SKLEARN, TORCHVISION
from danlu.data.label_maps import LabelMap
from danlu.data.left_out import left_out_images
from danlu.data.other_sets import refuse_two_sets, splits_beside
from danlu.data.recognition import choose_format, evidence_for, recognise
from danlu.data.sources.folders.unread_labels import advice_on_labels
from danlu.data.sources.image_labels import csv_evidence, json_labels
from danlu.data.sources.labelled_images.audit import similar_names
from danlu.data.sources.labelled_images.labelled import too_many_bad
from danlu.data.sources.masks import label_masks
from danlu.data.sources.masks.instance_masks import no_pairs
from danlu.data.sources.named import moving_digits, scenes, shapes, sklearn, torchvision
from danlu.data.sources.tables.targets import Task, need_two, with_classes
from danlu.message import Message, message, unicode_text
from danlu.refuse import Refusal, either, nearest, refusal, system_reason
from danlu.task_spec import TASKS, object_task

PROGRAMS = (".py", ".ipynb", ".sh", ".md", ".rst")  # files that hold no data


def takes_target(name: str) -> bool:
    """Return whether --target names the column of the labels of a format."""
    return name in FORMATS and FORMATS[name].target


def open_dataset(config: DataConfig, task: Task | None = None, classes_known: bool = False) -> Dataset:
    """Read the dataset at config.path, and those at config.val and config.test if they are paths.

    config.path: a path, or the name of a known dataset if no such path exists. task: None derives it from the data.
    classes_known: the classes are those of a trained network, so that data of a single class are accepted.
    Raises Refusal for data that do not exist, are damaged, of an unknown format or of another task; and
    Failure if a known dataset cannot be downloaded.
    """
    if not config.path:
        raise no_data()
    path = Path(config.path).expanduser()
    check_ordinary(path, "DATA")
    dataset = _open_path(path, config, task) if path.exists() else _open_name(config.path, config, task)
    if task and dataset.task != task:
        if not TASKS[task].learns_from(dataset.task_spec):
            raise _other_task(config.path, dataset.task, task)
        dataset = replace(dataset, task=task)
    if config.balance and dataset.task_spec.targets != "class":
        reason = (
            message("data.reason.data_contain_objects", "the data contain objects")
            if dataset.task_spec.finds_objects
            else message("data.reason.classes", "there are no classes")
        )
        raise refusal(
            "--data.balance",
            message("data.wanted.omitted_if", "omitted if {reason}, as in {path}", reason=reason, path=config.path),
            config.balance,
        )
    if dataset.task_spec.targets == "class" and not classes_known:
        column = f"column {dataset.target_names[0]!r} of " if dataset.target_names else ""
        of_folder = dataset.format == "folder"
        advice = (lambda: advice_on_labels(survey(path, follow_links=config.follow_links))) if of_folder else None
        need_two(dataset.classes, f"{column}{config.path}", advice)
    for flag, given, split in (("--val", config.val, VAL), ("--test", config.test, TEST)):
        if isinstance(given, str):
            dataset = _join(dataset, _open_split(flag, given, dataset, config), split, flag)
    return dataset


def _open_path(path: Path, config: DataConfig, task: Task | None) -> Dataset:
    try:
        data = survey(path, follow_links=config.follow_links)
    except OSError as error:
        raise refusal(str(path), message("data.wanted.readable", "readable"), system_reason(error)) from None
    _stop_at_links(data, config)
    refuse_pointers(data)
    as_map = task is not None and TASKS[task].labels_pixels
    wanted = config.format
    if as_map and wanted is None and label_masks.holds_classes(data):
        wanted = label_masks.FORM
    if wanted is None and config.target is not None and csv_evidence.names_target(data, config.target):
        wanted = "csv images"
    elif wanted is None and config.target is not None and json_labels.names_target(data, config.target):
        wanted = "json labels"
    name, notes, seen = choose_format(data, wanted)
    if task and not FORMATS[name].can_serve(task):
        other = None if wanted else _serving(data, task)
        if other is None and as_map and wanted is None:
            raise no_pairs(data)
        if other is None:
            raise _other_task(str(path), either(FORMATS[name].tasks), task)
        notes.append(message(
            "data.read_for_task", "read as {other}, which serves the task {task}, instead of {name}",
            other=other, task=task, name=name,
        ))  # fmt: skip
        name, _, seen = choose_format(data, other)
    drawn = as_map and FORMATS[name].outlines
    try:
        dataset = _read(name, data, config, object_task(True) if drawn else task)
    except Refusal as refused:
        outlined = _outlined(data) if as_map and not drawn and config.format is None else None
        if outlined is None:
            raise
        name, seen, drawn = *outlined, True
        dataset = _read(name, data, config, object_task(True))
        text = "the masks are not read ({reason}): the outlines of {other} are drawn instead"
        notes.append(message("data.note.outlines_instead", text, reason=str(refused), other=name))
    dataset = _with_unicode_names(semantic_from_objects(dataset) if drawn else dataset)
    if config.format is None:
        refuse_two_sets(data, dataset, name)
        notes += beside_class_folders(data, dataset, name)
        notes += splits_beside(path, dataset)
    unread = [Problem(one.where, one.reason) for one in data.unread]
    if not FORMATS[name].lists_every_image:
        notes = [*notes, *left_out_images(data, dataset, FORMATS[name].mask_files)]
    notes += [note for note in similar_names(dataset.classes) if note not in dataset.notes]
    return replace(dataset, notes=[*dataset.notes, *notes], problems=[*unread, *dataset.problems], seen=seen)


def _read(name: str, data: Survey, config: DataConfig, task: Task | None) -> Dataset:
    """Open `data` in a format. Raises Refusal also for text in another encoding that the reader cannot leave out."""
    try:
        return FORMATS[name].open(data, config, task)
    except NotTextError as error:
        text = (
            "{path} must be text in UTF-8, but byte {place} is no part of it: damaged, or saved in another encoding; "
            "export it again"
        )
        raise Refusal(message("data.refuse.text_other_bytes", text, path=error.file, place=error.start)) from None


def _serving(data: Survey, task: Task) -> str | None:
    """The only other format that the files are evidence for and that serves the task."""
    found = [name for name, one in evidence_for(data).items()
             if one.refuse is None and one.fit >= Fit.LAYOUT and FORMATS[name].can_serve(task)]  # fmt: skip
    return found[0] if len(found) == 1 else None


def _outlined(data: Survey) -> tuple[str, Message] | None:
    """The only other format beside the masks that has outlines of objects, and its files."""
    found = [(name, one.seen) for name, one in evidence_for(data).items()
             if one.refuse is None and one.fit >= Fit.CONVERTED and FORMATS[name].outlines]  # fmt: skip
    return found[0] if len(found) == 1 else None


def _stop_at_links(data: Survey, config: DataConfig) -> None:
    """Raise Refusal if links out of the data folder leave out more than a few images, unless --on-bad skip."""
    outside = data.links_out
    expected = (*IMAGE_SUFFIXES, *PROGRAMS)
    others = [one for one in outside if os.path.splitext(one.where)[1].lower() not in expected]
    if config.on_bad == "skip" or not outside:
        return
    if others or too_many_bad(len(outside), len(outside) + len(data.images)):
        first = (others or outside)[0]
        more = (
            message("data.more.more_such_links", " (and {outside} more such links)", outside=len(outside) - 1)
            if len(outside) > 1
            else ""
        )
        raise Refusal(
            message(
                "data.refuse.formats",
                "{path}: {where} is {reason}{more}",
                path=data.path,
                where=first.where,
                reason=first.reason,
                more=more,
            )
        )


def _with_unicode_names(dataset: Dataset) -> Dataset:
    """Replace bytes that are not UTF-8 in names of classes and targets, which the files of a run could not hold."""
    classes, targets = (tuple(map(unicode_text, names)) for names in (dataset.classes, dataset.target_names))
    changed = [new for old, new in zip((*dataset.classes, *dataset.target_names), (*classes, *targets)) if old != new]
    if not changed:
        return dataset
    if len(set(classes)) < len(classes) or len(set(targets)) < len(targets):
        raise Refusal(
            message(
                "data.refuse.name_utf_similar_another",
                "{path}: the name {changed!r} is not UTF-8 and similar to another: rename one of them",
                path=dataset.path,
                changed=changed[0],
            )
        )
    text = "{count} names are not UTF-8: their other bytes are written as escapes (first: {first})"
    note = message("data.not_utf8", text, count=len(changed), first=changed[0])
    return replace(dataset, classes=classes, target_names=targets, notes=[*dataset.notes, note])


def _other_task(path: str, own: str, asked: str) -> Refusal:
    return Refusal(
        message(
            "data.refuse.data_task_set_task",
            "{path} is data for the task {own}, not {asked} as set by --task or the run",
            path=path,
            own=own,
            asked=asked,
        )
    )


def _open_name(name: str, config: DataConfig, task: Task | None) -> Dataset:
    """Open a known dataset: from the data root in any format, else from scikit-learn or torchvision."""
    root = data_root()
    plain = os.path.basename(name) == name and name not in (".", "..")
    # "cifar10" may also be stored as "cifar10-jpeg".
    candidates = [root / name, *sorted(root.glob(f"{name}-*"))] if plain and "*" not in name else []
    for path in candidates:
        if path.exists() and recognise(path) and (name in KNOWN or path.name == name):
            known = SKLEARN.get(name)
            if known and known.target and not config.target:
                config = replace(config, target=known.target)
            dataset = _open_path(path, config, task)
            return torchvision.rename(dataset, name) if name in TORCHVISION else dataset
    if name in GENERATED:
        return _generated(name, config, task)
    if name in SKLEARN:
        return sklearn.open(name, root, config)
    if name in TORCHVISION:
        return torchvision.open(name, root, config)
    raise no_such_data(name)


def _generated(name: str, config: DataConfig, task: Task | None) -> Dataset:
    """A data set that danlu draws itself."""
    if name == "moving-digits":
        return moving_digits.open(name, config)
    if name == "scenes":
        return scenes.open(name, task)
    if task is not None and TASKS[task].labels_pixels:
        return semantic_from_objects(shapes.open(name, object_task(True)))
    return shapes.open(name, task)


def _open_split(flag: str, given: str, main: Dataset, config: DataConfig) -> Dataset:
    """Open the dataset of --val PATH or --test PATH in the same way as the main one."""
    path = Path(given).expanduser()
    if not path.exists():
        beside = [str(p) for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise refusal(
            flag,
            message("data.wanted.fraction_count_existing_path", "a fraction, a count or an existing path"),
            given,
            near=nearest(given, beside),
        )
    check_ordinary(path, flag)
    target = config.target or (main.target_names[0] if main.kind == "table" else None)
    config = replace(config, path=given, val=None, test=None, target=target)
    if main.frames is not None and isinstance(main.inputs, torch.Tensor):
        config = replace(config, frames=main.frames, size=config.side or main.inputs.shape[-1])
    return _open_path(path, config, main.task)


def _join(main: Dataset, part: Dataset, split: int, flag: str) -> Dataset:
    """Append the samples of `part` to `main` as the given split."""
    if (part.format, part.kind) != (main.format, main.kind):
        raise refusal(
            f"{flag} {part.path}",
            message(
                "data.wanted.same_format", "of the same format as {path} ({format})", path=main.path, format=main.format
            ),
            part.format,
        )
    if strange := sorted(set(part.classes) - set(main.classes)):
        raise refusal(
            f"each class of {flag} {part.path}",
            message("data.wanted.formats", "one of {path}", path=main.path),
            strange[0],
            near=main.classes,
        )
    places = torch.tensor([main.classes.index(name) for name in part.classes], dtype=torch.int64)
    given = main.given if main.given is not None else torch.full((len(main),), UNASSIGNED, dtype=torch.int8)
    count = len(main)
    return replace(
        main,
        inputs=_joined_inputs(main, part, flag),
        targets=_joined_targets(main, part, places),
        given=torch.cat([given, torch.full((len(part),), split, dtype=torch.int8)]),
        name_of=lambda i: main.name_of(i) if i < count else part.name_of(i - count),
        problems=[*main.problems, *(replace(p, where=f"{part.path}: {p.where}") for p in part.problems)],
        notes=[
            *main.notes,
            *(message("data.note.of_set", "{path}: {note}", path=part.path, note=note) for note in part.notes),
        ],
    )


def _joined_targets(main: Dataset, part: Dataset, places: torch.Tensor) -> Any:
    """Concatenate the targets. places: index of each class of `part` among those of `main`."""
    first, second = main.targets, part.targets
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return torch.cat([first, with_classes(main.task_spec, second, places, len(main.classes))])
    assert not isinstance(first, torch.Tensor)
    assert not isinstance(second, torch.Tensor)
    return [*first, *(renumbered(one, places) for one in second)]


def renumbered(one: Annotation | LabelMap, places: torch.Tensor) -> Annotation | LabelMap:
    """An annotation or label map with other class numbers. places: the new number of each class, int64 (K,)."""
    return one.renumbered(places) if isinstance(one, LabelMap) else replace(one, labels=places[one.labels])


def _joined_inputs(main: Dataset, part: Dataset, flag: str) -> Any:
    first, second = main.inputs, part.inputs
    if isinstance(first, ImageFiles) and isinstance(second, ImageFiles):
        window = first.window or second.window
        if first.channels != second.channels:
            usual = [f"{one.channels or '1 or 3'} channels" for one in (first, second)]
            raise refusal(
                f"images of {flag} {part.path}",
                message("data.wanted.formats_3", "of {usual}", usual=usual[0]),
                usual[1],
            )
        paths, sizes = first.paths + second.paths, first.sizes + second.sizes
        return ImageFiles(paths, sizes, first.grey and second.grey, window, first.channels)
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        if first.shape[1:] != second.shape[1:]:
            raise refusal(
                f"samples of {flag} {part.path}",
                message("data.wanted.shape", "of shape {found}", found=str(tuple(first.shape[1:]))),
                tuple(second.shape[1:]),
            )
        return torch.cat([first, second])
    import pandas

    assert isinstance(first, pandas.DataFrame)
    assert isinstance(second, pandas.DataFrame)
    if missing := [name for name in first.columns if name not in second.columns]:
        raise refusal(
            f"the columns of {flag} {part.path}",
            message("data.wanted.formats_2", "those of {path}", path=main.path),
            message("data.got.without", "no {missing}", missing=missing[0]),
            near=[],
        )
    return pandas.concat([first, second[list(first.columns)]], ignore_index=True)

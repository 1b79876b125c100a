"""From what the user named (a file, a folder, a known set) to a Dataset: the table of formats and the one way in."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from danlu.config import DataConfig
from danlu.data.annotations import Annotation
from danlu.data.dataset import TEST, UNASSIGNED, VAL, Dataset, ImageFiles
from danlu.data.sources import (
    cifar,
    coco,
    csv,
    folder,
    idx,
    instance_masks,
    npz,
    shapes,
    sklearn,
    torchvision,
    voc,
    yolo,
)
from danlu.data.sources.targets import Task
from danlu.refuse import Refusal, nearest, refusal
from danlu.task_spec import TASKS


@dataclass(frozen=True)
class Format:
    """One format on disk. looks_like: whether a path is of it; open: (path, config, task) -> Dataset.

    objects: it holds objects to find in images, to detect or to segment.
    """

    description: str
    looks_like: Callable[[Path], bool]
    open: Callable[[Path, DataConfig, Task | None], Dataset]
    objects: bool = False


# In this order a path is shown to them: the most particular first.
FORMATS = {
    "idx": Format("MNIST-style idx files, raw or .gz", idx.looks_like, idx.open),
    "cifar": Format("CIFAR-10 or CIFAR-100, binary or python batches", cifar.looks_like, cifar.open),
    "npz": Format("an .npz file with arrays x and y", npz.looks_like, npz.open),
    "coco": Format("COCO json of boxes or masks", coco.looks_like, coco.open, objects=True),
    "voc": Format("Pascal VOC xml of boxes", voc.looks_like, voc.open, objects=True),
    "yolo": Format("YOLO txt of boxes or polygons", yolo.looks_like, yolo.open, objects=True),
    "instance masks": Format(
        "a folder of images and one of instance masks", instance_masks.looks_like, instance_masks.open, objects=True
    ),
    "folder": Format("a folder with one subfolder of images per class", folder.looks_like, folder.open),
    "csv": Format("a .csv or .tsv table with a target column", csv.looks_like, csv.open),
}
DEFAULT_ROOT = "~/.cache/danlu"


def known_names() -> dict[str, str]:
    """Name of a known set -> its description."""
    return {
        name: known.description
        for table in (sklearn.NAMES, torchvision.NAMES, shapes.NAMES)
        for name, known in table.items()
    }


def data_root() -> Path:
    """Where known sets are looked for and downloaded to: $DANLU_DATA, by default ~/.cache/danlu."""
    return Path(os.environ.get("DANLU_DATA") or DEFAULT_ROOT).expanduser()


def open_dataset(config: DataConfig, task: Task | None = None) -> Dataset:
    """Read config.path, and config.val and config.test when they are paths.

    task: what the user asked for; None lets the data decide. An existing path goes before the name of a known set.
    Raises Refusal when there is no such data, when it is of no known format or broken, or contradicts `task`; Failure
    when a known set cannot be downloaded.
    """
    if not config.path:
        raise Refusal("DATA must be a file, a folder or the name of a known set, got nothing")
    path = Path(config.path).expanduser()
    dataset = _open_path(path, config, task) if path.exists() else _open_name(config.path, config, task)
    if task and dataset.task != task:
        raise _other_task(config.path, dataset.task, task)
    if config.balance and dataset.task_spec.targets != "class":
        what = "objects are to be found" if dataset.task_spec.finds_objects else "there are no classes"
        raise refusal("--data.balance", f"left out where {what}, as in {config.path}", config.balance)
    for flag, part, split in (("--val", config.val, VAL), ("--test", config.test, TEST)):
        if isinstance(part, str):
            dataset = _join(dataset, _open_part(flag, part, dataset, config), split, flag)
    return dataset


def recognise(path: Path) -> str | None:
    """Name of the first format that `path` looks like."""
    return next((name for name, form in FORMATS.items() if form.looks_like(path)), None)


def _open_path(path: Path, config: DataConfig, task: Task | None) -> Dataset:
    try:
        name = recognise(path)
    except OSError as error:
        raise refusal(str(path), "readable", error.strerror) from None
    if name is None:
        forms = "; ".join(form.description for form in FORMATS.values())
        raise refusal(str(path), "data in a known format", _what(path), do=f"known are: {forms}")
    if task and FORMATS[name].objects != TASKS[task].finds_objects:
        raise _other_task(str(path), "detect" if FORMATS[name].objects else "classify or regress", task)
    return FORMATS[name].open(path, config, task)


def _other_task(path: str, own: str, asked: str) -> Refusal:
    return Refusal(f"{path} is data to {own}, not to {asked} as --task or the run asks")


def _what(path: Path) -> str:
    """A few words on a path that no format recognises."""
    if path.is_file():
        return f"a file of {path.stat().st_size} bytes ending in {path.suffix or 'nothing'}"
    entries = list(path.iterdir())
    if not entries:
        return "an empty folder"
    kinds = Counter("folders" if e.is_dir() else f"{e.suffix or 'unnamed'} files" for e in entries)
    return "a folder of " + ", ".join(f"{n} {kind}" for kind, n in kinds.most_common(4))


def _open_name(name: str, config: DataConfig, task: Task | None) -> Dataset:
    """A known set: what lies under the data root in any format, else scikit-learn's or torchvision's own."""
    root = data_root()
    plain = os.path.basename(name) == name and name not in (".", "..")
    # "cifar10" is also found as "cifar10-jpeg".
    places = [root / name, *sorted(root.glob(f"{name}-*"))] if plain and "*" not in name else []
    for place in places:
        if place.exists() and recognise(place) and (name in known_names() or place.name == name):
            known = sklearn.NAMES.get(name)
            if known and known.target and not config.target:
                config = replace(config, target=known.target)
            dataset = _open_path(place, config, task)
            return torchvision.rename(dataset, name) if name in torchvision.NAMES else dataset
    if name in shapes.NAMES:
        return shapes.open(name, task)
    for source in (sklearn, torchvision):
        if name in source.NAMES:
            return source.open(name, root, config)
    raise _no_such_data(name)


def _no_such_data(name: str) -> Refusal:
    """The refusal that offers known sets and the files that lie near."""
    path = Path(name).expanduser()
    if path.is_symlink():
        return refusal(f"DATA {name}", "an existing file or folder", f"a link to {os.readlink(path)}, which is none")
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    beside = {str(parent / entry) if str(parent) != "." else entry for entry in os.listdir(parent)}
    files = nearest(path.name, {os.path.basename(entry) for entry in beside})
    near = nearest(name, known_names()) + [e for file in files for e in beside if os.path.basename(e) == file]
    do = (
        f"did you mean {' or '.join(repr(n) for n in near[:4])}?" if near else f"known sets: {', '.join(known_names())}"
    )
    return refusal("DATA", "a file, a folder or the name of a known set", name, do=do)


def _open_part(flag: str, part: str, main: Dataset, config: DataConfig) -> Dataset:
    """The samples of --val PATH or --test PATH, read as the main data were."""
    path = Path(part).expanduser()
    if not path.exists():
        beside = [str(p) for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise refusal(flag, "a share, a count or an existing path", part, near=nearest(part, beside))
    target = config.target or (main.target_names[0] if main.kind == "table" else None)
    return _open_path(path, replace(config, path=part, val=None, test=None, target=target), main.task)


def _join(main: Dataset, part: Dataset, split: int, flag: str) -> Dataset:
    """`main` with the samples of `part` added as the given split."""
    if (part.format, part.kind) != (main.format, main.kind):
        raise refusal(f"{flag} {part.path}", f"of the same format as {main.path} ({main.format})", part.format)
    if strange := sorted(set(part.classes) - set(main.classes)):
        raise refusal(f"each class of {flag} {part.path}", f"one of {main.path}", strange[0], near=main.classes)
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
        notes=[*main.notes, *(f"{part.path}: {note}" for note in part.notes)],
    )


def _joined_targets(main: Dataset, part: Dataset, places: torch.Tensor) -> torch.Tensor | list[Annotation]:
    """Targets of both. places: of each class of `part` among those of `main`."""
    first, second = main.targets, part.targets
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return torch.cat([first, places[second] if main.task_spec.targets == "class" else second])
    assert not isinstance(first, torch.Tensor)
    assert not isinstance(second, torch.Tensor)
    return [*first, *(replace(one, labels=places[one.labels]) for one in second)]


def _joined_inputs(main: Dataset, part: Dataset, flag: str) -> Any:
    first, second = main.inputs, part.inputs
    if isinstance(first, ImageFiles) and isinstance(second, ImageFiles):
        return ImageFiles(first.paths + second.paths, first.sizes + second.sizes, first.grey and second.grey)
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        if first.shape[1:] != second.shape[1:]:
            raise refusal(
                f"samples of {flag} {part.path}", f"of shape {tuple(first.shape[1:])}", tuple(second.shape[1:])
            )
        return torch.cat([first, second])
    import pandas

    assert isinstance(first, pandas.DataFrame)
    assert isinstance(second, pandas.DataFrame)
    if missing := [name for name in first.columns if name not in second.columns]:
        raise refusal(f"the columns of {flag} {part.path}", f"those of {main.path}", f"no {missing[0]}", near=[])
    return pandas.concat([first, second[list(first.columns)]], ignore_index=True)

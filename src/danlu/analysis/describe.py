"""`danlu describe`: contents of a dataset, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from danlu.analysis.contact_sheet import write_contact_sheet
from danlu.analysis.data_report import DataReport, ObjectsReport
from danlu.config import Config, DataConfig, new_config, with_values
from danlu.data.annotations import Annotation
from danlu.data.canvas import Fit
from danlu.data.dataset import SPLITS, Dataset, ImageFiles, Problem
from danlu.data.format_table import FORMATS
from danlu.data.formats import takes_target
from danlu.data.inputs import frame_of, image_inputs
from danlu.data.label_maps import LabelMap
from danlu.data.split import Split, split_dataset
from danlu.message import Message, message
from danlu.objects import IGNORE
from danlu.preparation.prepare import read
from danlu.python_calls import python_names
from danlu.refuse import Refusal, either

STATISTICS_IMAGES = 2_000  # max images whose mean and standard deviation are computed


@python_names()
def describe(
    data: str | Path, *, out: str | Path | None = None, task: str | None = None, seed: int | str = 0, **settings: Any
) -> DataReport:
    """Read `data` and report format, task, classes, splits, sizes, statistics and problems.

    Args:
        data: A file, a folder, or the name of a known dataset.
        out: Image file for a contact sheet (not for tables).
        task: For data that serve several tasks.
        seed: Of the splits.
        settings: Of the section `data`, by short or dotted name: `target="price"`.

    Returns:
        The report; faults that would stop a training (an empty class, too many bad files) are its first problem.

    Raises:
        Refusal: Data that cannot be read, in one sentence.
    """
    values = {k if "." in k else f"data.{k}": v for k, v in settings.items()}
    config = with_values(new_config(), {"data.path": str(data), "seed": seed, "device": "cpu", "task": task} | values)
    config, dataset = _read_with_faults(config)
    dataset, split = _split_with_faults(config, dataset)
    report = DataReport(
        data=dataset.path,
        format=dataset.format,
        task=dataset.task,
        samples=len(dataset),
        counts={name: len(getattr(split, name)) for name in SPLITS},
        split=split.how,
        classes=_classes(dataset, split),
        notes=list(dataset.notes),
        problems=[{"where": p.where, "reason": p.reason, "done": p.done} for p in dataset.problems],
        seen=str(dataset.seen) if dataset.seen is not None else None,
        understood=str(_understood(dataset)),
        targets=_targets(dataset) if dataset.task_spec.targets == "numbers" else None,
    )
    if dataset.kind in ("columns", "table"):
        return replace(report, columns=_columns(dataset, split.train))
    shuffled = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(config.seed))[:STATISTICS_IMAGES]
    size, colour = config.data.side, config.data.colour
    assert size is not None, "chosen while reading"
    assert colour is not None, "chosen while reading"
    fit: Fit = "letterbox" if dataset.task_spec.on_canvas else "crop"
    images = image_inputs(dataset, size=size, colour=colour, memory=False, fit=fit)
    mean, std = images.statistics(shuffled.tolist())
    if out is not None:
        write_contact_sheet(Path(out), dataset, shuffled)
    return replace(
        report,
        sizes=_sizes(dataset),
        channels=len(mean),
        mean=list(mean),
        std=list(std),
        objects=_objects(dataset) if dataset.task_spec.finds_objects else None,
        contact_sheet=str(out) if out is not None else None,
    )


def _understood(dataset: Dataset) -> Message:
    """A sentence on the reading of the data, and the flags that change it."""
    columns = dataset.target_names or ("target",)
    goal = dataset.task_spec.goal
    goal = Message(goal.id, goal.text, {"classes": len(dataset.classes), "columns": list(columns)})
    if dataset.seen is None:  # a known set, named as such
        text = "{data} is the known set of that name, task {task}: {goal}"
        return message("data.understood.known", text, data=dataset.path, task=dataset.task, goal=goal)
    others = [task for task in FORMATS[dataset.format].tasks if task != dataset.task]
    flags = ["--target COLUMN"] if takes_target(dataset.format) else []
    flags += [*(f"--task {task}" for task in others), "--format NAME (`danlu formats`)"]
    return message(
        "data.understood.path",
        "{data} is understood as {format} ({seen}), task {task}: {goal}; if that is wrong, use {flags}",
        data=dataset.path, format=dataset.format, seen=dataset.seen, task=dataset.task, goal=goal,
        flags=either(flags),
    )  # fmt: skip


def _read_with_faults(config: Config) -> tuple[Config, Dataset]:
    """Read data even where a training would refuse it; the refusal becomes the first problem."""
    try:
        config, dataset, _ = read(config)
    except Refusal as refused:
        try:
            config, dataset, _ = read(with_values(config, {"data.on_bad": "skip"}))
        except Refusal:
            raise refused from None
        reason = str(refused).removeprefix(dataset.path).lstrip(":： ")  # the line begins with the path
        stops = Problem(dataset.path, reason, "training stops at")
        dataset = replace(dataset, problems=[stops, *dataset.problems])
    return config, dataset


def _split_with_faults(config: Config, dataset: Dataset) -> tuple[Dataset, Split]:
    """Split data; those that are too few for a training are all counted as training samples, with a problem."""
    data = config.data
    try:
        return dataset, split_dataset(dataset, data, config.seed if data.seed is None else data.seed)
    except Refusal as refused:
        if data.val is not None or data.test is not None or data.split != DataConfig().split:
            raise
        stops = Problem(dataset.path, str(refused), "training stops at")
        none = torch.zeros(0, dtype=torch.int64)
        whole = Split(torch.arange(len(dataset)), none, none, message("split.all", "all samples"))
        return replace(dataset, problems=[stops, *dataset.problems]), whole


def _annotations(dataset: Dataset) -> Sequence[Annotation]:
    """Targets of a detection or segmentation dataset."""
    assert not isinstance(dataset.targets, Tensor)
    return cast(Sequence[Annotation], dataset.targets)


def _present(dataset: Dataset, index: Tensor) -> Tensor:
    """Classes in each label map, each once per image, int64 (n,)."""
    found = [torch.zeros(0, dtype=torch.int64)]
    for i in index.tolist():
        one = dataset.targets[i]
        assert isinstance(one, LabelMap)
        classes = np.unique(one.read())
        found.append(torch.from_numpy(classes[classes != IGNORE].astype(np.int64)))
    return torch.cat(found)


def _labels(dataset: Dataset) -> Tensor:
    """Targets of any other dataset: class indices (N,) or values (N, T)."""
    assert isinstance(dataset.targets, Tensor)
    return dataset.targets


def _classes(dataset: Dataset, split: Split) -> dict[str, dict[str, int]]:
    """Number of samples, of objects, or of images that show it, by class and split."""
    count = len(dataset.classes)
    if not count:
        return {}
    counts = {}
    for name in SPLITS:
        index = getattr(split, name)
        if dataset.task_spec.labels_pixels:
            labels = _present(dataset, index)
        elif dataset.task_spec.finds_objects:
            annotations = _annotations(dataset)
            none = torch.zeros(0, dtype=torch.int64)
            labels = torch.cat([*(annotations[i].labels for i in index.tolist()), none])
        elif dataset.task_spec.several_labels:
            labels = _labels(dataset)[index].nonzero()[:, 1]
        else:
            labels = _labels(dataset)[index]
        counts[name] = torch.bincount(labels, minlength=count).tolist()
    return {label: {name: counts[name][k] for name in SPLITS} for k, label in enumerate(dataset.classes)}


def _targets(dataset: Dataset) -> dict[str, dict[str, float]]:
    """Mean, standard deviation, min and max of each regression target."""
    return {
        name: {
            "mean": column.mean().item(),
            "std": column.std().item(),
            "least": column.min().item(),
            "most": column.max().item(),
        }
        for name, column in zip(dataset.target_names or ("target",), _labels(dataset).double().unbind(1))
    }


def _objects(dataset: Dataset) -> ObjectsReport:
    """Number of objects, in all and per image, and their sizes."""
    annotations = _annotations(dataset)
    counts = torch.tensor([len(one) for one in annotations])
    boxes = torch.cat([one.boxes for one in annotations])
    sides = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).sqrt()
    images_without = int((counts == 0).sum())
    per_image = [int(counts.min()), int(counts.median()), int(counts.max())]
    return ObjectsReport(
        count=int(counts.sum()),
        ignored=sum(int(one.ignore.sum()) for one in annotations),
        images_without=images_without,
        per_image=per_image,
        side=[round(float(f(sides)), 1) for f in (torch.min, torch.median, torch.max)] if len(sides) else [],
        pictures_without=images_without,
        per_picture=per_image,
    )


def _sizes(dataset: Dataset) -> dict[str, list[int]]:
    """[min, median, max] of height and width in pixels."""
    if isinstance(dataset.inputs, Tensor):
        height, width = dataset.inputs.shape[-2:]
        return {"height": [height, height, height], "width": [width, width, width]}
    assert isinstance(dataset.inputs, ImageFiles)
    heights, widths = (torch.tensor(side, dtype=torch.float64) for side in zip(*dataset.inputs.sizes))
    return {
        name: [int(side.min()), int(side.median()), int(side.max())]
        for name, side in (("height", heights), ("width", widths))
    }


def _columns(dataset: Dataset, train: Tensor) -> list[dict[str, Any]]:
    """Name, type, missing values and statistics of each column; statistics of the training set."""
    frame = frame_of(dataset)
    rows = []
    for name in frame.columns:
        column = frame[name].iloc[train.numpy()]
        row: dict[str, Any] = {
            "name": str(name),
            "type": str(column.dtype),
            "missing": int(frame[name].isna().to_numpy().sum()),
        }
        if column.dtype.kind in "ifu":
            row |= {"mean": float(column.mean()), "std": float(column.std())}
        else:
            row |= {"distinct": int(column.nunique())}
        rows.append(row)
    return rows

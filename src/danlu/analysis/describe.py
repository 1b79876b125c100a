"""`danlu data`: what a set of data holds, before anything is trained on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from danlu.config import Config, with_values
from danlu.data.annotations import Annotation
from danlu.data.canvas import Placement
from danlu.data.dataset import SPLITS, Dataset, ImageFiles, Problem
from danlu.data.inputs import channel_statistics, frame_of, image_inputs, placements
from danlu.data.split import split_dataset
from danlu.preparation.prepare import read
from danlu.refuse import Refusal, blame, refusal
from danlu.report.images import contact_sheet

SHOWN, COLUMNS_SHOWN = 48, 8
NO_LABELS = torch.zeros(0, dtype=torch.int64)
SAMPLED = 2_000  # images whose mean and standard deviation are taken


def describe(
    data: str | Path, *, out: str | Path | None = None, task: str | None = None, seed: int | str = 0, **settings: Any
) -> dict[str, Any]:
    """Format, task, classes, counts per split, sizes, statistics and problems of `data`, as plain values.

    out: where a contact sheet of images is written (none for tables). task: to read it for, where it serves several.
    What would stop a training (an empty class, too many bad files) is a problem among the others.
    """
    values = {k if "." in k else f"data.{k}": v for k, v in settings.items()}
    config = with_values(Config(), {"data.path": str(data), "seed": seed, "device": "cpu", "task": task} | values)
    config, dataset = _read(config)
    split = split_dataset(dataset, config.data, config.seed if config.data.seed is None else config.data.seed)
    found: dict[str, Any] = {
        "data": dataset.path,
        "format": dataset.format,
        "task": dataset.task,
        "samples": len(dataset),
        "counts": {name: len(getattr(split, name)) for name in SPLITS},
        "split": split.how,
        "classes": _classes(dataset, split),
        "notes": list(dataset.notes),
        "problems": [{"where": p.where, "reason": p.reason, "done": p.done} for p in dataset.problems],
    }
    if dataset.task == "regress":
        found["targets"] = {
            name: {
                "mean": column.mean().item(),
                "std": column.std().item(),
                "least": column.min().item(),
                "most": column.max().item(),
            }
            for name, column in zip(dataset.target_names or ("target",), dataset.targets.double().unbind(1))
        }
    if dataset.kind in ("columns", "table"):
        found["columns"] = _columns(dataset, split.train)
        return found | {"contact_sheet": None}
    generator = torch.Generator().manual_seed(config.seed)
    some = torch.randperm(len(dataset), generator=generator)[:SAMPLED]
    objects = dataset.task in ("detect", "segment")
    fit = "letterbox" if objects else "crop"
    images = image_inputs(dataset, size=config.data.size, colour=config.data.colour, memory=False, fit=fit)
    mean, std = channel_statistics(images.some(some.tolist()))
    found |= {"sizes": _sizes(dataset), "channels": len(mean), "mean": list(mean), "std": list(std)}
    if objects:
        found["objects"] = _objects(dataset)
    found["contact_sheet"] = str(out) if out is not None else None
    if out is not None:
        shown = _shown(dataset, some)
        tiles = images.some(shown)
        if objects:
            places = placements(dataset, config.data.size, fit)
            tiles = torch.stack([_boxed(tile, dataset.targets[i], places[i]) for tile, i in zip(tiles, shown)])
        sheet = contact_sheet(tiles, [_caption(dataset, i) for i in shown], COLUMNS_SHOWN)
        try:
            sheet.save(out)
        except ValueError:  # PIL knows the format by the ending
            raise refusal("--out", "the name of an image file, such as sheet.png", str(out)) from None
        except OSError as error:
            raise blame(error, f"--out {out}") from None
    return found


def _read(config: Config) -> tuple[Config, Dataset]:
    """The data, however bad: what a training refuses is shown, as the first problem."""
    try:
        config, dataset, _ = read(config)
    except Refusal as refused:
        try:
            config, dataset, _ = read(with_values(config, {"data.on_bad": "skip"}))
        except Refusal:
            raise refused from None
        stops = Problem(dataset.path, str(refused).removeprefix(f"{dataset.path}: "), "training stops at")
        dataset = replace(dataset, problems=[stops, *dataset.problems])
    return config, dataset


def _classes(dataset: Dataset, split: Any) -> dict[str, dict[str, int]]:
    """Class -> split -> samples, or objects."""
    count = len(dataset.classes)
    if dataset.task in ("detect", "segment"):
        labels = {name: [dataset.targets[i].labels for i in getattr(split, name).tolist()] for name in SPLITS}
        per = {name: torch.bincount(torch.cat([*found, NO_LABELS]), minlength=count) for name, found in labels.items()}
        return {c: {name: int(per[name][k]) for name in SPLITS} for k, c in enumerate(dataset.classes)}
    per = (
        {name: torch.bincount(dataset.targets[getattr(split, name)], minlength=count) for name in SPLITS}
        if count
        else {}
    )
    return {c: {name: int(per[name][k]) for name in SPLITS} for k, c in enumerate(dataset.classes)}


def _objects(dataset: Dataset) -> dict[str, Any]:
    """How many objects there are, per image too, and the side of a square of a box's area: least, median, most."""
    counts = torch.tensor([len(one) for one in dataset.targets])
    boxes = torch.cat([one.boxes for one in dataset.targets])
    sides = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).sqrt()
    return {
        "count": int(counts.sum()),
        "ignored": sum(int(one.ignore.sum()) for one in dataset.targets),
        "images_without": int((counts == 0).sum()),
        "per_image": [int(counts.min()), int(counts.median()), int(counts.max())],
        "side": [round(float(f(sides)), 1) for f in (torch.min, torch.median, torch.max)] if len(sides) else [],
    }


def _caption(dataset: Dataset, i: int) -> str:
    target = dataset.targets[i]
    if isinstance(target, Annotation):
        return ", ".join(dict.fromkeys(dataset.classes[k] for k in target.labels.tolist())) or "nothing"
    return dataset.classes[int(target)] if dataset.classes else f"{target.tolist()}"


def _boxed(image: torch.Tensor, annotation: Annotation, placement: Placement) -> torch.Tensor:
    """A uint8 image (C, S, S) in colour with its boxes and masks drawn, those to be ignored in grey."""
    from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

    colours = ["grey" if ignored else "lime" for ignored in annotation.ignore.tolist()]
    image = image.expand(3, -1, -1)
    if not colours:
        return image
    if annotation.shapes is not None:
        image = draw_segmentation_masks(image, annotation.masks(placement).bool(), alpha=0.45, colors=colours)
    return draw_bounding_boxes(image, placement.boxes(annotation.boxes), colors=colours, width=1)


def _sizes(dataset: Dataset) -> dict[str, Any]:
    if not isinstance(dataset.inputs, ImageFiles):
        height, width = dataset.inputs.shape[-2:]  # type: ignore[union-attr]
        return {"height": [height, height, height], "width": [width, width, width]}
    heights, widths = (torch.tensor(side, dtype=torch.float64) for side in zip(*dataset.inputs.sizes))
    return {
        name: [int(side.min()), int(side.median()), int(side.max())]
        for name, side in (("height", heights), ("width", widths))
    }


def _columns(dataset: Dataset, train: torch.Tensor) -> list[dict[str, Any]]:
    frame = frame_of(dataset)
    rows = []
    for name in frame.columns:
        column = frame[name].iloc[train.numpy()]
        row: dict[str, Any] = {"name": str(name), "type": str(column.dtype), "missing": int(frame[name].isna().sum())}
        if column.dtype.kind in "ifu":
            row |= {"mean": float(column.mean()), "std": float(column.std())}
        else:
            row |= {"distinct": int(column.nunique())}
        rows.append(row)
    return rows


def _shown(dataset: Dataset, some: torch.Tensor) -> list[int]:
    """A few of every class, classes in turn."""
    if dataset.task != "classify":
        return some[:SHOWN].tolist()
    members = [some[dataset.targets[some] == k].tolist() for k in range(len(dataset.classes))]
    rounds = [group[n] for n in range(max(map(len, members))) for group in members if n < len(group)]
    return rounds[:SHOWN]

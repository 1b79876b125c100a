"""`danlu data`: what a set of data holds, before anything is trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from danlu.config import Config, with_values
from danlu.data.dataset import SPLITS, Dataset, PictureFiles
from danlu.data.inputs import channel_statistics, frame_of, picture_inputs
from danlu.data.split import split_dataset
from danlu.prepare import read
from danlu.refuse import blame, refusal
from danlu.report.pictures import contact_sheet

SHOWN, COLUMNS_SHOWN = 48, 8
SAMPLED = 2_000  # pictures whose mean and standard deviation are taken


def describe(
    data: str | Path, *, out: str | Path | None = None, seed: int | str = 0, **settings: Any
) -> dict[str, Any]:
    """Format, task, classes, counts per split, sizes, statistics and problems of `data`, as plain values.

    out: where a contact sheet of pictures is written (none for tables).
    """
    values = {k if "." in k else f"data.{k}": v for k, v in settings.items()}
    config = with_values(Config(), {"data.path": str(data), "seed": seed, "device": "cpu"} | values)
    config, dataset, _ = read(config)
    split = split_dataset(dataset, config.data, config.seed)
    found: dict[str, Any] = {
        "data": dataset.path,
        "format": dataset.format,
        "task": dataset.task,
        "samples": len(dataset),
        "counts": {name: len(getattr(split, name)) for name in SPLITS},
        "split": split.how,
        "classes": _classes(dataset, split),
        "notes": list(dataset.notes),
        "problems": [{"where": p.where, "reason": p.reason} for p in dataset.problems],
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
    pictures = picture_inputs(dataset, size=config.data.size, colour=config.data.colour, memory=False)
    mean, std = channel_statistics(pictures.some(some.tolist()))
    found |= {"sizes": _sizes(dataset), "channels": len(mean), "mean": list(mean), "std": list(std)}
    found["contact_sheet"] = str(out) if out is not None else None
    if out is not None:
        shown = _shown(dataset, some)
        captions = [
            dataset.classes[int(dataset.targets[i])] if dataset.classes else f"{dataset.targets[i].tolist()}"
            for i in shown
        ]
        sheet = contact_sheet(pictures.some(shown), captions, COLUMNS_SHOWN)
        try:
            sheet.save(out)
        except ValueError:  # PIL knows the format by the ending
            raise refusal("--out", "the name of a picture file, such as danlu-data.png", str(out)) from None
        except OSError as error:
            raise blame(error, f"--out {out}") from None
    return found


def _classes(dataset: Dataset, split: Any) -> dict[str, dict[str, int]]:
    """Class -> split -> samples."""
    count = len(dataset.classes)
    per = (
        {name: torch.bincount(dataset.targets[getattr(split, name)], minlength=count) for name in SPLITS}
        if count
        else {}
    )
    return {c: {name: int(per[name][k]) for name in SPLITS} for k, c in enumerate(dataset.classes)}


def _sizes(dataset: Dataset) -> dict[str, Any]:
    if not isinstance(dataset.inputs, PictureFiles):
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
    if not dataset.classes:
        return some[:SHOWN].tolist()
    members = [some[dataset.targets[some] == k].tolist() for k in range(len(dataset.classes))]
    rounds = [group[n] for n in range(max(map(len, members))) for group in members if n < len(group)]
    return rounds[:SHOWN]

"""Datasets of torchvision by name, read from $DANLU_DATA in torchvision's layout or downloaded to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from danlu.config import DataConfig
from danlu.data.dataset import TEST, TRAIN, VAL, Dataset, ImageFiles, Problem
from danlu.data.files.image_file import ImageInfo
from danlu.data.image_workers import check_images
from danlu.data.known_sets import TORCHVISION, OfTorchvision
from danlu.data.sources.arrays import cifar, idx
from danlu.data.sources.named.download import reason, socket_timeout
from danlu.data.sources.tables.targets import sort_classes
from danlu.message import message
from danlu.progress.silence import silent_thread
from danlu.refuse import Failure

CODES = {"train": TRAIN, "val": VAL, "test": TEST}


def open(name: str, folder: Path, config: DataConfig) -> Dataset:
    """Read a dataset from `folder` in torchvision's layout, or download it.

    Raises Failure, saying what was looked for where, when it is not there and cannot be downloaded.
    """
    known = TORCHVISION[name]
    for root in (folder, folder / name):
        if (found := _read(name, known, root, config)) is not None:
            return found
    try:
        with socket_timeout(), silent_thread():
            folder.mkdir(parents=True, exist_ok=True)
            for split in known.splits:
                _make(known, folder, split, download=True)
    except (OSError, RuntimeError) as error:
        raise Failure(
            message(
                "data.refuse.looked_any_format_torchvision",
                "{name} was looked for in {folder} (any format) and in {folder2} (torchvision's layout), "
                "was not there, and cannot be downloaded: {reason}; put it there, or set DANLU_DATA to "
                "its folder",
                name=name,
                folder=folder / name,
                folder2=folder,
                reason=reason(error),
            )
        ) from None
    if (found := _read(name, known, folder, config)) is None:
        raise Failure(
            message(
                "data.refuse.downloaded_cannot_read_remove",
                "{name} was downloaded to {folder} but cannot be read; remove it and try again",
                name=name,
                folder=folder,
            )
        )
    return found


def rename(dataset: Dataset, name: str) -> Dataset:
    """Replace class numbers by the published class names."""
    if not all(label.isdigit() for label in dataset.classes):
        return dataset
    names = _published(TORCHVISION[name])
    if len(names) != len(dataset.classes) or [int(k) for k in dataset.classes] != list(range(len(names))):
        return dataset
    assert isinstance(dataset.targets, torch.Tensor)
    classes, targets = sort_classes(names, dataset.targets)
    return replace(dataset, classes=classes, targets=targets)


def _make(known: OfTorchvision, root: Path, split: str, download: bool = False) -> Any:
    """Create one split as torchvision's dataset. Raises RuntimeError if it does not exist."""
    import torchvision.datasets

    kind = getattr(torchvision.datasets, known.kind)
    if known.kind == "EMNIST":
        return kind(str(root), "balanced", train=split == "train", download=download)
    if known.home:
        return kind(str(root), train=split == "train", download=download)
    return kind(str(root), split=split, download=download)


def _read(name: str, known: OfTorchvision, root: Path, config: DataConfig) -> Dataset | None:
    """Read a dataset in torchvision's layout under `root`; None if it does not exist."""
    if known.home:
        reader = cifar if known.kind.startswith("CIFAR") else idx
        home = root / known.home
        if not reader.looks_like(home):
            return None
        return replace(rename(reader.open(home, config), name), path=name)
    try:
        parts = (
            [(_make(known, root, split), CODES[ours]) for split, ours in known.splits.items()] if root.is_dir() else []
        )
    except (RuntimeError, OSError):
        parts = []
    if not parts:
        return None
    labels = [torch.as_tensor(np.asarray(_first(part, "targets", "labels", "_labels"))).long() for part, _ in parts]
    targets = torch.cat(labels)
    given = torch.cat(
        [torch.full((len(y),), ours, dtype=torch.int8) for y, (_, ours) in zip(labels, parts, strict=True)]
    )
    names = list(getattr(parts[0][0], "classes", ())) or [f"{k:03d}" for k in range(int(targets.max()) + 1)]
    classes, targets = sort_classes(names, targets)
    common = {"path": name, "format": "torchvision", "task": "classify", "classes": classes}
    if hasattr(parts[0][0], "data"):
        inputs = torch.cat([_pixels(part.data, known.turned) for part, _ in parts])
        return Dataset(inputs=inputs, targets=targets, given=given, **common)
    paths = [Path(file) for part, _ in parts for file in _first(part, "_image_files", "_images")]
    return _files(paths, targets, given, config, common)


def _files(paths: list[Path], targets: torch.Tensor, given: torch.Tensor, config: DataConfig, common: dict) -> Dataset:
    """List image files to decode later; unreadable ones become problems."""
    found = check_images(paths, decode=False, workers=config.workers)
    problems = [Problem(str(path), info) for path, info in zip(paths, found, strict=True) if isinstance(info, str)]
    keep = [i for i, info in enumerate(found) if isinstance(info, ImageInfo)]
    infos = [info for info in found if isinstance(info, ImageInfo)]
    kept = tuple(paths[i] for i in keep)
    inputs = ImageFiles(kept, tuple((f.height, f.width) for f in infos), all(f.grey for f in infos))
    common |= {"problems": problems, "name_of": lambda i: str(kept[i])}
    return Dataset(inputs=inputs, targets=targets[keep], given=given[keep], **common)


def _pixels(data: Any, turned: bool) -> torch.Tensor:
    """Reshape uint8 (N, H, W) to (N, 1, H, W); (N, C, H, W) is unchanged."""
    pixels = torch.as_tensor(np.ascontiguousarray(data))
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    return pixels.transpose(-1, -2).contiguous() if turned else pixels


def _first(part: Any, *names: str) -> Any:
    """Return the first of these attributes that a dataset of torchvision has; names differ between its classes."""
    return next(getattr(part, name) for name in names if hasattr(part, name))


def _published(known: OfTorchvision) -> list[str]:
    """Class names of torchvision, without the prefix of MNIST's ("0 - zero")."""
    import torchvision.datasets

    return [label.split(" - ")[0] for label in getattr(getattr(torchvision.datasets, known.kind), "classes", ())]

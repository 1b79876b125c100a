"""Images without labels: any data set of images whose labels are set aside, or any folder with images in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from danlu.config import DataConfig
from danlu.data.dataset import Dataset, Problem
from danlu.data.files.image_file import ImageInfo
from danlu.data.files.survey import survey
from danlu.data.formats import open_dataset
from danlu.data.image_workers import check_images
from danlu.data.sources.labelled_images.labelled import image_files, relative, too_many_bad
from danlu.message import message
from danlu.refuse import Refusal, refusal

MIN_IMAGES = 8  # fewer are not enough to learn features from


def open_unlabelled(config: DataConfig) -> Dataset:
    """Read the images at config.path for pretraining. Class labels, where there are any, are kept to measure progress.

    A folder that no format with labels fits is read as all the images below it. Raises Refusal for data that are no
    images, and for fewer than eight.
    """
    try:
        dataset = open_dataset(config)
    except Refusal as refused:
        dataset = _images_below(config, refused)
    return without_labels(dataset)


def without_labels(dataset: Dataset) -> Dataset:
    """The images of a data set for pretraining; class labels are kept to measure progress."""
    if dataset.kind not in ("images", "files"):
        wanted = message(
            "data.wanted.images_to_pretrain", "images for `danlu pretrain`, in Python uint8 arrays (n, H, W, C)"
        )
        raise refusal(
            "DATA", wanted, message("data.got.kind", "{path}, which has {kind}", path=dataset.path, kind=dataset.kind)
        )
    if len(dataset) < MIN_IMAGES:
        wanted = message("data.wanted.enough_images", "at least {least} images for `danlu pretrain`", least=MIN_IMAGES)
        raise refusal(
            "DATA", wanted, message("data.got.images", "{count} in {path}", count=len(dataset), path=dataset.path)
        )
    labelled = dataset.task_spec.targets == "class" and isinstance(dataset.targets, Tensor)
    return replace(
        dataset,
        task="pretrain",
        targets=dataset.targets if labelled else torch.zeros(len(dataset), dtype=torch.int64),
        classes=dataset.classes if labelled else (),
        target_names=(),
    )


def _images_below(config: DataConfig, refused: Refusal) -> Dataset:
    """All images below a folder; `refused` is raised where there are none."""
    root = Path(config.path).expanduser()
    if config.format or not root.is_dir():
        raise refused
    listed = survey(root, follow_links=config.follow_links)
    paths = [file.path for file in listed.images]
    if not paths:
        raise refused
    found = check_images(paths, workers=config.workers)
    problems = [Problem(relative(p, root), info) for p, info in zip(paths, found) if isinstance(info, str)]
    if too_many_bad(len(problems), len(paths)) and config.on_bad == "stop":
        first = problems[0]
        text = (
            "{bad} of {count} images of {root} cannot be read (first: {where}: {reason}); --on-bad skip leaves them out"
        )
        facts = {"bad": len(problems), "count": len(paths), "root": root, "where": first.where, "reason": first.reason}
        raise Refusal(message("data.refuse.unlabelled_unreadable", text, **facts))
    good = [(path, info) for path, info in zip(paths, found) if isinstance(info, ImageInfo)]
    notes = [str(message("data.unlabelled", "all images below the folder, without labels"))]
    inputs = image_files([path for path, _ in good], [info for _, info in good], config, notes)
    files = inputs.paths
    return Dataset(
        path=str(root),
        format="images",
        task="pretrain",
        inputs=inputs,
        targets=torch.zeros(len(files), dtype=torch.int64),
        name_of=lambda i: relative(files[i], root),
        problems=problems,
        notes=notes,
    )

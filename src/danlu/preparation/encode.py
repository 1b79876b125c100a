"""Samples in the form that a network takes, and the signature of that network."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from danlu.config import ResolvedConfig
from danlu.data.canvas import Fit
from danlu.data.columns import ColumnEncoder, TargetScaler
from danlu.data.dataset import Dataset, ImageFiles
from danlu.data.inputs import Images, channel_statistics, frame_of, image_inputs, placements
from danlu.data.object_set import ObjectSet
from danlu.data.split import Split
from danlu.preparation.networks import model_options
from danlu.refuse import refusal
from danlu.run.signature import Signature

MAX_STATISTICS_IMAGES = 20_000  # training images for the mean and standard deviation, of images in memory
MAX_STATISTICS_FILES = 512  # the same, where they have to be decoded first
MIN_SIDE = 4  # pixels of an image
NOT_LEARNT = {  # why the column of --split is not an input
    "group": "says which rows belong together and the network is to be judged on others (--split)",
    "time": "only dates the rows and every later row lies beyond what was seen of it (--split)",
}
CROP_MARGIN = 8 / 7  # files are decoded larger than the network's input by this factor, where crops are random


@dataclass(frozen=True)
class Encoded:
    """Inputs and targets of all samples. images, columns: one of them is None. split: without unreadable samples."""

    dataset: Dataset
    split: Split
    signature: Signature
    targets: Tensor | ObjectSet
    images: Images | None = None
    columns: Tensor | None = None


def encode_images(config: ResolvedConfig, dataset: Dataset, split: Split, start: Signature | None) -> Encoded:
    """Decode images to one size; take their mean and std from the training set or the weights to start from."""
    size, colour = config.data.size, config.data.colour
    assert size is not None  # chosen for every set of images
    assert colour is not None
    if size < MIN_SIDE:
        raise refusal("--size", f"at least {MIN_SIDE} pixels", size)
    objects = dataset.task_spec.finds_objects
    crops = dataset.kind == "files" and config.augment.area is not None and size >= 64 and not objects
    canvas = round(size * CROP_MARGIN) if crops else size
    fit: Fit = config.detect.fit if objects else "crop"
    images = image_inputs(
        dataset,
        size=canvas,
        colour=colour,
        memory=config.data.memory,
        cache=config.data.cache,
        workers=config.data.workers or None,
        fit=fit,
    )
    split = _without(split, images.void, len(dataset))
    limit = MAX_STATISTICS_IMAGES if config.data.memory else MAX_STATISTICS_FILES
    mean, std = channel_statistics(images.some(split.train[:: -(-len(split.train) // limit)].tolist()))
    channels = len(mean)
    if (
        start is not None and start.channels == channels
    ):  # trained weights expect the normalisation they were trained with
        mean, std = start.mean, start.std
    elif not config.data.standardise:
        mean, std = (0.0,) * channels, (1.0,) * channels
    targets = object_set(dataset, canvas, fit)
    scaled, scale = _scaled(config, dataset, split) if targets is None else (targets, None)
    signature = replace(
        _signature(config, dataset),
        channels=channels,
        size=size,
        canvas=canvas,
        mean=mean,
        std=std,
        target_scale=scale,
        backbone=config.detect.backbone,
        fit=fit,
    )
    return Encoded(dataset, split, signature, scaled, images=images)


def encode_table(config: ResolvedConfig, dataset: Dataset, split: Split) -> Encoded:
    """Encode the columns of a table as numbers, fitted on the training set."""
    frame = frame_of(dataset)
    kind, _, column = config.data.split.partition(":")
    unlearnt = {column: NOT_LEARNT[kind]} if kind in NOT_LEARNT else {}
    encoder = ColumnEncoder.fit(frame.iloc[split.train.numpy()], unlearnt)
    dataset = replace(dataset, notes=[*dataset.notes, *encoder.notes])
    columns = encoder.transform(frame)
    targets, scale = _scaled(config, dataset, split)
    signature = replace(
        _signature(config, dataset),
        inputs=columns.shape[1],
        columns=encoder.to_dict(),
        target_scale=scale,
        backbone=config.detect.backbone,
    )
    return Encoded(dataset, split, signature, targets, columns=columns)


def object_set(dataset: Dataset, canvas: int, fit: Fit) -> ObjectSet | None:
    """Objects of all samples on a square canvas of this many pixels; None for data without objects."""
    if isinstance(dataset.targets, Tensor):
        return None
    return ObjectSet(dataset.targets, placements(dataset, canvas, fit), masks=dataset.task_spec.masks)


def _without(split: Split, void: list[int], samples: int) -> Split:
    """The split without samples that could not be read."""
    if not void:
        return split
    keep = torch.ones(samples, dtype=torch.bool)
    keep[void] = False
    train, val, test = (index[keep[index]] for index in (split.train, split.val, split.test))
    return replace(split, train=train, val=val, test=test)


def _scaled(config: ResolvedConfig, dataset: Dataset, split: Split) -> tuple[Tensor, dict[str, list[float]] | None]:
    """Targets on the scale of the training, and that scale for regression."""
    targets = dataset.targets
    assert isinstance(targets, Tensor)
    if dataset.task_spec.targets != "numbers":
        return targets, None
    scaler = TargetScaler.fit(targets[split.train], on=bool(config.data.standardise_target))
    return scaler.transform(targets), scaler.to_dict()


def _signature(config: ResolvedConfig, dataset: Dataset) -> Signature:
    """The signature of the network, without the encoding of its inputs and targets."""
    return Signature(
        task=dataset.task,
        model=config.model.name,
        options=model_options(config),
        classes=dataset.classes,
        target_names=dataset.target_names or (("target",) if dataset.task_spec.targets == "numbers" else ()),
        window=dataset.inputs.window if isinstance(dataset.inputs, ImageFiles) else None,
    )

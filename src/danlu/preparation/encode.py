"""Encode samples as inputs and targets of a network, and derive the signature of that network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from danlu.config import ResolvedConfig
from danlu.data.annotations import Annotation
from danlu.data.canvas import Fit
from danlu.data.columns import ColumnEncoder, TargetScaler
from danlu.data.dataset import Dataset, ImageFiles, Samples
from danlu.data.inputs import Images, frame_of, image_inputs, placements
from danlu.data.label_maps import LabelMap, MapSet
from danlu.data.object_set import ObjectSet
from danlu.data.split import Split
from danlu.detection.detector_table import DETECTORS
from danlu.message import message
from danlu.preparation.mixed_sizes import grid_of, sizes_of
from danlu.preparation.networks import model_options
from danlu.preparation.pretraining import settings_of
from danlu.refuse import refusal
from danlu.run.signature import Signature

MAX_STATISTICS_IMAGES = 20_000  # training images in memory from which mean and standard deviation are computed
MAX_STATISTICS_FILES = 512  # the same for images that must be decoded from files
MIN_SIDE = 4  # pixels of an image
SPLIT_COLUMN_REASONS = {  # reasons why the column of --split is not an input
    "group": "identifies groups of rows, and the network is evaluated on other groups (--split)",
    "time": "is the time of a row, and the network is evaluated on later times than it was trained on (--split)",
}
MIN_CROP_SIDE = 64  # pixels; smaller inputs are decoded without a margin
CROP_MARGIN = 8 / 7  # factor by which files are decoded larger than the input for random crops


@dataclass(frozen=True)
class Encoded:
    """Inputs and targets of all samples: images, columns or tensors. split: without unreadable samples."""

    dataset: Dataset
    split: Split
    signature: Signature
    targets: Tensor | ObjectSet | MapSet
    images: Images | None = None
    columns: Tensor | None = None
    tensors: Tensor | Samples | None = None


def encode_images(config: ResolvedConfig, dataset: Dataset, split: Split, start: Signature | None) -> Encoded:
    """Decode images to one size, with mean and std of the training set or of the weights to start from."""
    size, colour = config.data.side, config.data.colour
    assert size is not None  # chosen for all image data
    assert colour is not None
    if size < MIN_SIDE:
        raise refusal(
            "--size", message("preparation.wanted.least_pixels", "at least {min_side} pixels", min_side=MIN_SIDE), size
        )
    objects = dataset.task_spec.on_canvas
    crops = dataset.kind == "files" and config.augment.area is not None and size >= MIN_CROP_SIDE and not objects
    canvas = round(size * CROP_MARGIN) if crops else size
    grid, fit = grid_of(config), config.detect.fit if objects else "crop"
    if grid is not None:
        canvas = grid.canvas(sizes_of(dataset))
    images = image_inputs(
        dataset,
        size=canvas,
        colour=colour,
        memory=config.data.memory,
        cache=config.data.cache,
        workers=config.data.workers or None,
        fit=grid or fit,
    )
    split = _without(split, images.void, len(dataset))
    limit = MAX_STATISTICS_IMAGES if config.data.memory else MAX_STATISTICS_FILES
    mean, std = images.statistics(split.train[:: -(-len(split.train) // limit)].tolist())
    channels = len(mean)
    if start is not None and start.channels == channels:
        mean, std = start.mean, start.std  # pretrained weights need the normalisation of their training
    elif not config.data.standardise:
        mean, std = (0.0,) * channels, (1.0,) * channels
    targets = target_set(dataset, canvas, fit, [config.model.name])
    scaled, scale = _scaled(config, dataset, split) if targets is None else (targets, None)
    signature = replace(
        _signature(config, dataset),
        channels=channels,
        frames=dataset.frames,
        size=size,
        canvas=canvas,
        mean=mean,
        std=std,
        target_scale=scale,
        backbone=config.detect.backbone,
        fit=fit,
        tokens=config.data.tokens,
        keep_size=config.data.keep_size,
    )
    return Encoded(dataset, split, signature, scaled, images=images)


def encode_table(config: ResolvedConfig, dataset: Dataset, split: Split) -> Encoded:
    """Encode the columns of a table as numbers, fitted on the training set."""
    frame = frame_of(dataset)
    kind, _, column = config.data.split.partition(":")
    excluded = {column: SPLIT_COLUMN_REASONS[kind]} if kind in SPLIT_COLUMN_REASONS else {}
    encoder = ColumnEncoder.fit(frame.iloc[split.train.numpy()], excluded)
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


def encode_tensors(config: ResolvedConfig, dataset: Dataset, split: Split) -> Encoded:
    """Tensors of the user as they are."""
    tensors = dataset.inputs
    assert isinstance(tensors, Tensor | Samples)
    targets, scale = _scaled(config, dataset, split)
    shape = tuple(tensors.shape[1:] if isinstance(tensors, Tensor) else tensors.shape)
    parts = tensors.inputs if isinstance(tensors, Samples) else ()
    signature = replace(_signature(config, dataset), shape=shape, parts=parts, target_scale=scale)
    return Encoded(dataset, split, signature, targets, tensors=tensors)


def target_set(dataset: Dataset, canvas: int, fit: Fit, networks: Sequence[str]) -> ObjectSet | MapSet | None:
    """Objects or label maps of all samples on a square canvas of `canvas` pixels per side; None for other targets.

    networks: names of the network, or of the members of an ensemble.
    """
    targets = dataset.targets
    if isinstance(targets, Tensor):
        return None
    spec, places = dataset.task_spec, placements(dataset, canvas, fit)
    if spec.labels_pixels:
        return MapSet(cast(Sequence[LabelMap], targets), places)
    objects = cast(Sequence[Annotation], targets)
    # Outlines of objects with poses also keep their boxes tight where the image is turned.
    outlined = spec.poses and all(one.shapes is not None for one in objects)
    learned = any(name in DETECTORS and DETECTORS[name].learns_masks for name in networks)
    masks = spec.masks or outlined or learned
    return ObjectSet(objects, places, masks, dataset.models)


def _without(split: Split, void: list[int], samples: int) -> Split:
    """The split without samples that could not be read."""
    if not void:
        return split
    keep = torch.ones(samples, dtype=torch.bool)
    keep[void] = False
    train, val, test = (index[keep[index]] for index in (split.train, split.val, split.test))
    return replace(split, train=train, val=val, test=test)


def _scaled(config: ResolvedConfig, dataset: Dataset, split: Split) -> tuple[Tensor, dict[str, list[float]] | None]:
    """Targets as trained on: standardised for regression, with the scale."""
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
        classes=dataset.classes if dataset.task_spec.has_classes else (),
        pretrain=settings_of(config) if dataset.task_spec.targets == "none" else None,
        target_names=dataset.target_names or (("target",) if dataset.task_spec.targets == "numbers" else ()),
        window=dataset.inputs.window if isinstance(dataset.inputs, ImageFiles) else None,
    )

"""Prepare a training: read, split, encode and check the data of a config, and decide every setting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from danlu.config import Config, ResolvedConfig
from danlu.data.absent import no_data
from danlu.data.augmentation.augment import resolve as resolve_augmentation
from danlu.data.augmentation.presets import resolve_grids, resolve_maps, resolve_objects
from danlu.data.clips import CLIP_CHANNELS
from danlu.data.dataset import Dataset
from danlu.data.formats import open_dataset, takes_target
from danlu.data.images import channels_of
from danlu.data.label_maps import MapSet
from danlu.data.object_set import ObjectSet
from danlu.data.split import Split, folds, split_dataset
from danlu.data.unlabelled import open_unlabelled, without_labels
from danlu.engine.device import keep_freed_memory, pick_device
from danlu.message import message, translated
from danlu.preparation.checks import check_objects, check_training
from danlu.preparation.choices import Choice
from danlu.preparation.data_defaults import choose_data
from danlu.preparation.defaults import choose_settings
from danlu.preparation.encode import Encoded, encode_images, encode_table, encode_tensors
from danlu.preparation.memory_check import check_fits
from danlu.preparation.network_task import check_network_task
from danlu.preparation.number_format import choose_format
from danlu.preparation.own_transform import with_own_transform
from danlu.preparation.prepared import (
    Prepared,
    PreparedImages,
    PreparedMaps,
    PreparedObjects,
    PreparedTable,
    PreparedTensors,
)
from danlu.preparation.pretrained import choose_start
from danlu.preparation.pretraining import check_pretraining
from danlu.preparation.starting_weights import plan_transfer
from danlu.preparation.transfer import Transfer
from danlu.preparation.weights_source import open_source
from danlu.progress.stages import stage
from danlu.refuse import refusal
from danlu.task_spec import targets_of
from danlu.user_objects import find, is_own


def read(config: Config) -> tuple[Config, Dataset, list[Choice]]:
    """Open the data, and choose the settings that decide how they are read."""
    dataset = _open(config)
    config, begun = choose_start(config, dataset)
    config, choices = choose_data(config, dataset, pick_device(config.device, config.devices))
    return config, dataset, [*begun, *choices]


def prepare(config: Config, start_kept: Path | None = None) -> Prepared:
    """Read, split and encode the data of a config and decide every setting, before any training.

    start_kept: where the run keeps its copy of the weights it started from (`Run.weights("start")`), if it has one.
    Raises Refusal for whatever is wrong in the settings or the data.
    """
    keep_freed_memory()
    check_network_task(config.model.name, config.task)
    dataset = _open(config)
    check_network_task(config.model.name, dataset.task)
    config, begun = choose_start(config, dataset)
    source = open_source(config, start_kept)
    start = source.signature if source else None
    device = pick_device(config.device, config.devices)
    split = split_of(config, dataset)
    if split.note:
        dataset = replace(dataset, notes=[*dataset.notes, split.note])
    chosen, choices = choose_settings(config, dataset, len(split.train), device, start)
    check_pretraining(chosen)
    if chosen.batch_size > len(split.train):
        raise refusal(
            "--batch-size",
            message(
                "preparation.wanted.most_training_samples",
                "at most {train}, the training samples",
                train=len(split.train),
            ),
            chosen.batch_size,
        )
    if dataset.kind in ("images", "files"):
        chosen = _with_augmentation(chosen, dataset)
        encoded = encode_images(chosen, dataset, split, start)
        check_objects(chosen, encoded)
    elif dataset.kind == "tensors":
        encoded = encode_tensors(chosen, dataset, split)
    else:
        encoded = encode_table(chosen, dataset, split)
    encoded = with_own_transform(chosen, encoded)
    check_fits(chosen, encoded.signature, device)  # before a network is built
    transfer, transferred = plan_transfer(chosen.transfer, encoded.signature, source)
    chosen, formatted = choose_format(config, chosen, encoded.signature, transfer, device)
    prepared = prepared_of(chosen, encoded, device, (*begun, *choices, *transferred, *formatted), transfer)
    check_training(prepared)
    return prepared


def _open(config: Config) -> Dataset:
    if not config.data.path:
        raise no_data()
    if is_own(config.data.path):
        own = find("data", config.data.path)
        return without_labels(own) if targets_of(config.task) == "none" else own
    with stage(translated("stage.reading", "reading {data}", data=config.data.path)):
        if targets_of(config.task) == "none":
            return open_unlabelled(config.data)
        dataset = open_dataset(config.data, config.task)
    target = config.data.target
    if target and dataset.kind != "table" and target not in dataset.target_names and not takes_target(dataset.format):
        raise refusal(
            "--target",
            message(
                "preparation.wanted.omitted_if_data_table",
                "omitted if the data are not a table with named columns, as in {path}",
                path=dataset.path,
            ),
            target,
        )
    return dataset


def split_of(config: Config, dataset: Dataset) -> Split:
    """The split of the data, or of one fold. A fold has no test set, which is kept for the final model."""
    seed = config.seed if config.data.seed is None else config.data.seed
    if config.data.fold is None:
        return split_dataset(dataset, config.data, seed)
    splits = folds(dataset, config.data, seed)
    if config.data.fold >= len(splits):
        raise refusal(
            "--data.fold",
            message(
                "preparation.wanted.less_number_folds", "less than {splits}, the number of folds", splits=len(splits)
            ),
            config.data.fold,
        )
    return replace(splits[config.data.fold], test=torch.empty(0, dtype=torch.long))


def _with_augmentation(config: ResolvedConfig, dataset: Dataset) -> ResolvedConfig:
    """The config with every setting of the augmentation filled in."""
    size = config.data.side or 1
    is_image = dataset.kind in ("images", "files")
    channels = channels_of(config.data.colour or "rgb", dataset.stored_channels) if is_image else 3
    if dataset.frames is not None:
        channels = CLIP_CHANNELS
    if dataset.task_spec.labels_pixels:
        return replace(config, augment=resolve_maps(config.augment, size=size, channels=channels))
    if dataset.task_spec.finds_objects:
        poses = dataset.task_spec.poses
        return replace(config, augment=resolve_objects(config.augment, size=size, channels=channels, poses=poses))
    classes = len(dataset.classes) if dataset.task_spec.has_classes else 0
    fill = resolve_augmentation if config.data.tokens is None else resolve_grids
    return replace(config, augment=fill(config.augment, size=size, channels=channels, classes=classes))


def prepared_of(
    config: ResolvedConfig,
    encoded: Encoded,
    device: torch.device,
    choices: tuple[Choice, ...] = (),
    transfer: Transfer | None = None,
) -> Prepared:
    """The `Prepared` of this kind of data. choices, transfer: of a training."""
    shared: dict[str, Any] = {
        "config": config,
        "dataset": encoded.dataset,
        "split": encoded.split,
        "signature": encoded.signature,
        "device": device,
        "choices": choices,
        "transfer": transfer,
    }
    if isinstance(encoded.targets, ObjectSet):
        assert encoded.images is not None
        return PreparedObjects(**shared, images=encoded.images, targets=encoded.targets)
    if isinstance(encoded.targets, MapSet):
        assert encoded.images is not None
        return PreparedMaps(**shared, images=encoded.images, targets=encoded.targets)
    if encoded.images is not None:
        return PreparedImages(**shared, images=encoded.images, targets=encoded.targets)
    if encoded.tensors is not None:
        return PreparedTensors(**shared, tensors=encoded.tensors, targets=encoded.targets)
    assert encoded.columns is not None
    return PreparedTable(**shared, columns=encoded.columns, targets=encoded.targets)

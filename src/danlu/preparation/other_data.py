"""Other data for a trained network: encoded as its training data were, or refused where they differ in kind."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from danlu.config import Config, ResolvedConfig, resolve
from danlu.data.columns import ColumnEncoder, TargetScaler
from danlu.data.dataset import Dataset, Samples
from danlu.data.formats import renumbered
from danlu.data.inputs import Images, frame_of, image_inputs
from danlu.data.label_maps import MapSet
from danlu.data.object_set import ObjectSet
from danlu.data.sources.tables.targets import with_classes
from danlu.data.split import Split
from danlu.engine.device import pick_device
from danlu.message import message
from danlu.preparation.encode import Encoded, target_set
from danlu.preparation.own_transform import with_own_transform
from danlu.preparation.prepare import prepared_of
from danlu.preparation.prepared import Prepared
from danlu.refuse import Refusal, refusal
from danlu.run.signature import Signature


def prepare_for(signature: Signature, config: Config, dataset: Dataset, index: Tensor) -> Prepared:
    """Other data for a trained network, in its encoding, scale and classes (by name). index: the test samples.

    Raises Refusal for data of another task, kind or shape, or with a class that the network does not know.
    """
    if dataset.task != signature.task:
        text = "{path}, which is data for the task {task}"
        raise refusal(
            "DATA",
            message("preparation.wanted.data_task", "data for the task {task}", task=signature.task),
            message("preparation.got.data_task", text, path=dataset.path, task=dataset.task),
        )
    if signature.classes:
        dataset = _with_classes(dataset, signature.classes)
    empty = torch.empty(0, dtype=torch.long)
    split = Split(train=empty, val=empty, test=index, how=message("split.all", "all samples"))
    resolved = resolve(config)
    encoded = with_own_transform(resolved, _encoded(signature, resolved, dataset, split))
    return prepared_of(resolved, encoded, pick_device(resolved.device))


def _encoded(signature: Signature, config: ResolvedConfig, dataset: Dataset, split: Split) -> Encoded:
    targets = dataset.targets
    if signature.target_scale is not None and isinstance(targets, Tensor):
        targets = TargetScaler.from_dict(signature.target_scale).transform(targets)
    images, columns, tensors = None, None, None
    if signature.columns is not None:
        columns = ColumnEncoder.from_dict(signature.columns).transform(frame_of(dataset), dataset.path)
    elif dataset.kind in ("images", "files"):
        images = _images(signature, config, dataset)
        networks = [one.model for one in (signature, *signature.members)]
        targets = target_set(dataset, signature.canvas or 1, signature.fit, networks) or targets
    elif dataset.kind == "tensors" and signature.channels is None:
        tensors = _tensors(signature, dataset)
    else:
        raise _other_kind(signature, dataset)
    assert isinstance(targets, Tensor | ObjectSet | MapSet)
    return Encoded(dataset, split, signature, targets, images, columns, tensors)


def _images(signature: Signature, config: ResolvedConfig, dataset: Dataset) -> Images:
    """The images or clips, if they have the frames and channels that the network takes."""
    images = image_inputs(
        dataset,
        size=signature.canvas or 1,
        colour=signature.colour,
        memory=config.data.memory,
        fit=signature.placing,
    )
    if images.frames != signature.frames:
        wanted = message("preparation.wanted.clips_of", "clips of {frames} frames", frames=signature.frames)
        if signature.frames is None:
            wanted = message("preparation.wanted.images", "images")
        got = message("preparation.got.images", "images in {path}", path=dataset.path)
        if images.frames is not None:
            text = "clips of {frames} frames in {path}"
            got = message("preparation.got.clips_in", text, frames=images.frames, path=dataset.path)
        raise refusal("DATA", wanted, got)
    if images.channels != signature.channels:
        text = "images of {channels} channels"
        raise refusal(
            "DATA",
            message("preparation.wanted.images_channels", text, channels=signature.channels),
            message("preparation.got.channels", "{count} in {path}", count=images.channels, path=dataset.path),
        )
    return images


def _tensors(signature: Signature, dataset: Dataset) -> Tensor | Samples:
    """The tensors, if each sample has the shape that the network takes."""
    tensors = dataset.inputs
    assert isinstance(tensors, Tensor | Samples)
    shape = tuple(signature.input_shape)
    parts = tensors.inputs if isinstance(tensors, Samples) else ()
    if tuple(tensors.shape[-len(shape) :]) != shape or parts != signature.parts:
        wanted = message("preparation.wanted.inputs_shape", "inputs of shape {found}", found=str(shape))
        raise refusal("DATA", wanted, tuple(tensors.shape))
    return tensors


def _other_kind(signature: Signature, dataset: Dataset) -> Refusal:
    """The refusal of a table where images are needed, and the like."""
    wanted = message("preparation.wanted.images", "images")
    if signature.channels is None:
        shape = str(tuple(signature.input_shape))
        wanted = message("preparation.wanted.tensors_shape", "tensors of shape {found}", found=shape)
    if dataset.kind == "table":
        got = message("preparation.got.table", "{path}, a table", path=dataset.path)
    else:
        text = "{path}, which has {kind}"
        got = message("preparation.got.kind_of_data", text, path=dataset.path, kind=dataset.kind)
    return refusal("DATA", wanted, got)


def _with_classes(dataset: Dataset, classes: tuple[str, ...]) -> Dataset:
    """The dataset with its labels numbered as in `classes`. Raises Refusal for a class that is not there."""
    unknown = [name for name in dataset.classes if name not in classes]
    if unknown:
        raise refusal(
            message("preparation.thing.class_in", "class in {path}", path=dataset.path),
            message("preparation.wanted.run_trained", "one that the run was trained on"),
            unknown[0],
            near=classes,
        )
    places = torch.tensor([classes.index(name) for name in dataset.classes])
    targets = dataset.targets
    if isinstance(targets, Tensor):
        return replace(dataset, targets=with_classes(dataset.task_spec, targets, places, len(classes)), classes=classes)
    return replace(dataset, targets=[renumbered(one, places) for one in targets], classes=classes)

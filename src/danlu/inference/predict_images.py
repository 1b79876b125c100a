"""Predictions of a classifier or regression network on images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from danlu.config import Config
from danlu.data.augmentation.augment import Normalise, views
from danlu.data.augmentation.grids import without_border
from danlu.data.clips import ClipTransform
from danlu.data.columns import TargetScaler
from danlu.data.files.multichannel import ChannelsError
from danlu.data.images import decode, read_image
from danlu.inference.input_images import InputImage, output_folder, output_name, read_images
from danlu.inference.prediction import Prediction
from danlu.inference.trained_network import Member, TrainedNetwork
from danlu.message import translated
from danlu.metrics.multilabel import DEFAULT_THRESHOLD
from danlu.preparation.own_transform import around
from danlu.progress.stages import stage
from danlu.report.images import annotate
from danlu.run.signature import Signature
from danlu.tasks.classify import probabilities
from danlu.tasks.task import rows
from danlu.user_objects import find

CHUNK = 256  # images on the device at once


def predict_images(
    trained: TrainedNetwork,
    device: torch.device,
    inputs: Sequence[Any],
    config: Config,
    *,
    top: int = 3,
    out: Path | None = None,
) -> list[Prediction]:
    """Predict every image of `inputs` (see `read_images`), in order.

    config: `augment` and `tta` decide over which views of an image the outputs are averaged. top: number of classes
    listed. out: folder for copies of the images with the prediction written below.
    """
    signature = trained.signature
    with stage(translated("stage.reading_images", "reading images")) as reading:
        images = list(reading.each(read_images(inputs, partial(read_for, signature=signature))))
    readable = [one.content for one in images if one.content is not None]
    if signature.transform is not None and readable:
        find("transform", signature.transform).fit(torch.from_numpy(readable[0]))
    outputs = iter(image_outputs(trained.members_on(device), device, readable, config) if readable else ())
    predictions = [
        Prediction(one.name, error=one.error)
        if one.content is None
        else to_prediction(one.name, signature, next(outputs), top)
        for one in images
    ]
    if out is not None:
        _write_annotated(out, images, predictions, signature.tokens is not None)
    return predictions


def read_for(source: Any, signature: Signature) -> np.ndarray:
    """Read an image as the network takes it. Raises ChannelsError for another number of channels."""
    pixels = read_image(source, signature.canvas or 1, signature.colour, signature.placing, signature.window)
    channels = len(pixels) - (signature.tokens is not None)
    if channels != signature.channels:
        raise ChannelsError(f"{channels} channels, but the network takes {signature.channels}")
    return pixels


def to_prediction(name: str, signature: Signature, output: Tensor, top: int = 3) -> Prediction:
    """Name the values of one output. output: (K,) probabilities, or target values in their units."""
    if signature.task_spec.has_classes:
        values, places = output.sort(descending=True, stable=True)
        ordered = [(signature.classes[i], round(value, 6)) for i, value in zip(places.tolist(), values.tolist())]
        every = {label: round(value, 6) for label, value in zip(signature.classes, output.tolist())}
        if signature.task_spec.several_labels:
            needed = signature.thresholds or (DEFAULT_THRESHOLD,) * len(signature.classes)
            found = [one for one, i in zip(ordered, places.tolist()) if output[i].item() >= needed[i]]
            return Prediction(name, labels=found, top=ordered[:top], probabilities=every)
        return Prediction(name, label=ordered[0][0], confidence=ordered[0][1], top=ordered[:top], probabilities=every)
    numbers = output.tolist()
    if len(numbers) == 1:
        return Prediction(name, value=numbers[0])
    return Prediction(name, targets=dict(zip(signature.target_names, numbers)))


@torch.no_grad()
def member_output(signature: Signature, model: nn.Module, inputs: Tensor) -> Tensor:
    """Run one network on inputs normalised or encoded for it; (N, K) on the CPU.

    K class probabilities, or K target values in their units.
    """
    return answers_of(signature, rows(model(inputs)).float().cpu())


def answers_of(signature: Signature, outputs: Tensor) -> Tensor:
    """Raw outputs (N, K) of a network as class probabilities, or as target values in their units."""
    if signature.task_spec.several_labels:
        return outputs.sigmoid()
    if signature.task_spec.has_classes:
        return probabilities(outputs, signature.temperature)
    return TargetScaler.from_dict(signature.target_scale or {}).inverse(outputs)


def image_outputs(
    members: Sequence[Member], device: torch.device, images: Sequence[np.ndarray], config: Config
) -> Tensor:
    """Mean of `member_output` over members and views, (N, K). images: uint8 (C, H, W) on the canvas."""
    chunks = []
    with stage(translated("stage.predicting", "predicting images"), len(images)) as predicting:
        for start in range(0, len(images), CHUNK):
            raw = torch.from_numpy(np.stack(images[start : start + CHUNK])).to(device)
            outputs = []
            for signature, model in members:
                normalise = Normalise(**signature.normalisation)
                if signature.frames is not None:
                    normalise = ClipTransform(normalise, signature.frames)
                _, prepare = around(signature, normalise, normalise)
                batch, _ = prepare(raw, None, torch.zeros(len(raw), device=device), None)
                seen = views(batch, config.augment) if config.tta else [batch]
                outputs += [member_output(signature, model, view) for view in seen]
            chunks.append(torch.stack(outputs).mean(0))
            predicting.advance(len(raw))
    return torch.cat(chunks)


def _write_annotated(
    out: Path, images: Sequence[InputImage[np.ndarray]], predictions: Sequence[Prediction], marked: bool
) -> None:
    """Write each image at its original size, with its prediction below, under the name of its file.

    marked: whether images in memory are on a canvas whose last channel marks them.
    """
    folder = output_folder(out)
    taken: set[str] = set()
    for one, prediction in zip(images, predictions):
        if one.content is None:
            continue
        pixels = torch.from_numpy(one.content)
        if isinstance(one.source, Path):
            pixels = torch.from_numpy(np.ascontiguousarray(np.asarray(decode(one.source)).transpose(2, 0, 1)))
        elif marked:
            pixels = without_border(pixels)
        image = annotate(pixels, _caption(prediction))
        image.save(folder / output_name(one.name, taken))


def _caption(prediction: Prediction) -> str:
    if prediction.label is not None:
        return f"{prediction.label} {prediction.confidence:.0%}"
    if prediction.labels is not None:
        return ", ".join(f"{name} {probability:.0%}" for name, probability in prediction.labels)
    return f"{prediction.value}" if prediction.value is not None else ""

"""Semantic segmentation of images: the class of each pixel, written as overlays and label maps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from danlu.config import Config
from danlu.data.augmentation.augment import Normalise, view_flips
from danlu.data.canvas import FITS, Placement
from danlu.data.images import Colour, decode, image_size, place_image
from danlu.data.label_palette import palette
from danlu.inference.input_images import output_folder, output_name, read_images
from danlu.inference.prediction import Prediction
from danlu.inference.trained_network import TrainedNetwork
from danlu.message import translated
from danlu.metrics.detection import run_lengths
from danlu.progress.stages import stage
from danlu.report.images import MASK_ALPHA
from danlu.tasks.detect import run_lengths_to_json
from danlu.tasks.semantic import probabilities, to_labels

CHUNK = 16  # images on the device at once
LABELS = "labels"  # folder of the label maps inside --out
PlacedImage = tuple[np.ndarray, Placement]  # uint8 (C, S, S) on the canvas, and its position there


def segment_images(
    trained: TrainedNetwork, device: torch.device, inputs: Sequence[Any], config: Config, out: Path | None = None
) -> list[Prediction]:
    """Predict the class of each pixel of every image of `inputs`, in order.

    config: `tta` and `augment` give the flips. out: folder for the images at their original size with the classes in
    colours, and `labels/` for PNGs whose pixel values are the class numbers.
    """
    segmenter = ImageSegmenter(trained, device, config)
    folder = output_folder(out) if out is not None else None
    if folder is not None:
        output_folder(folder / LABELS)
    taken: set[str] = set()
    predictions: list[Prediction] = []
    images = read_images(inputs, segmenter.place)
    with stage(translated("stage.segmenting", "segmenting images")) as segmenting:
        while chunk := list(islice(images, CHUNK)):
            found = iter(segmenter([one.content for one in chunk if one.content is not None]))
            for one in segmenting.each(chunk):
                if one.content is None:
                    predictions.append(Prediction(one.name, error=one.error))
                    continue
                labels = next(found)
                predictions.append(to_prediction(one.name, labels, segmenter.classes))
                if folder is not None:
                    name = output_name(one.name, taken)
                    overlay(decode(one.source), labels, len(segmenter.classes)).save(folder / name)
                    label_image(labels, len(segmenter.classes)).save(folder / LABELS / name)
    return predictions


class ImageSegmenter:
    """A trained network for semantic segmentation, or an ensemble, with its pre- and postprocessing."""

    def __init__(self, trained: TrainedNetwork, device: torch.device, config: Config) -> None:
        self.device, signature = device, trained.signature
        self.members = [
            (model, Normalise(size=own.size or 1, mean=own.mean, std=own.std))
            for own, model in trained.members_on(device)
        ]
        self.flips = view_flips(config.augment) if config.tta else [()]
        self.classes, self.fit, self.canvas = signature.classes, FITS[signature.fit], signature.canvas or 1
        self.colour: Colour = signature.colour
        self.window = signature.window

    def place(self, source: Any) -> PlacedImage:
        """Resize and pad an image (file, array or PIL image) to the canvas. ValueError or OSError if unreadable."""
        placement = self.fit(image_size(source), self.canvas)
        return place_image(source, placement, self.colour, self.window), placement

    @torch.no_grad()
    def __call__(self, images: Sequence[PlacedImage]) -> list[np.ndarray]:
        """Classes at the pixels of the original images, uint8 (H, W) each."""
        if not images:
            return []
        raw = torch.from_numpy(np.stack([image for image, _ in images])).to(self.device)
        each = [
            probabilities(model, normalise.scale(normalise.centre(raw)), self.flips)
            for model, normalise in self.members
        ]
        p = torch.stack(each).mean(0) if len(each) > 1 else each[0]
        return [to_labels(one, placement) for one, (_, placement) in zip(p, images)]


def to_prediction(name: str, labels: np.ndarray, classes: Sequence[str]) -> Prediction:
    """Prediction of one image: the fraction of the pixels of each class that occurs, by size."""
    counts = np.bincount(labels.ravel(), minlength=len(classes)) / max(labels.size, 1)
    order = np.argsort(-counts, kind="stable").tolist()
    areas = {str(classes[k]): round(float(counts[k]), 6) for k in order if counts[k] > 0}
    return Prediction(name, areas=areas, label_map=labels)


def class_masks(labels: np.ndarray, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """COCO run lengths of the pixels of each class that occurs, by its name. labels: of each pixel, uint8 (H, W)."""
    present = [k for k in range(len(classes)) if (labels == k).any()]
    masks = torch.from_numpy(np.stack([labels == k for k in present]).astype(np.uint8))
    return {str(classes[k]): run_lengths_to_json(one) for k, one in zip(present, run_lengths(masks))}


def overlay(image: Any, labels: np.ndarray, classes: int) -> Any:
    """A PIL image in RGB with the colours of the classes over it."""
    plain = np.asarray(image.convert("RGB"), np.float32)
    colours = np.array(palette(classes), np.float32)[labels]
    from PIL import Image

    return Image.fromarray((plain * (1 - MASK_ALPHA) + colours * MASK_ALPHA + 0.5).astype(np.uint8))


def label_image(labels: np.ndarray, classes: int) -> Any:
    """A PIL palette image whose pixel values are the class numbers."""
    from PIL import Image

    image = Image.fromarray(labels, "P")
    image.putpalette([value for colour in palette(classes) for value in colour])
    return image

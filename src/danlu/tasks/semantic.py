"""Semantic segmentation: an image to a class for each pixel."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.data.augmentation.augment import view_flips
from danlu.data.batches import Batch
from danlu.data.canvas import Placement
from danlu.data.label_maps import LabelMap
from danlu.learning.losses import build_loss
from danlu.metrics.classification import compact
from danlu.metrics.semantic import boundary_counts, class_rows, confusion_of, iou_per_class, semantic_metrics
from danlu.objects import IGNORE
from danlu.task_spec import TASKS
from danlu.tasks.task import Evaluation, SampleLoss, TaskData, UserMetrics, ViewFunction

MAX_EXAMPLES_SHOWN = 12  # in the report
EXAMPLE_SIDE = 256  # max pixels of the label maps of examples
MAX_RESIZED = 1 << 27  # probabilities that are resized at once; maps of larger images are resized as classes


@dataclass
class MapPrediction:
    """Prediction for one image, counted at the image's own size.

    index: of the sample. labels: predicted classes as PNG. places, counts: non-zero cells of the confusion matrix, and
    their pixels. boundary: see `boundary_counts`. loss: of the image on the canvas.
    """

    index: int
    labels: bytes
    places: np.ndarray
    counts: np.ndarray
    boundary: np.ndarray
    loss: float

    def confusion(self, classes: int) -> np.ndarray:
        """Confusion matrix of this image, int64 (K, K)."""
        found = np.zeros(classes * classes, np.int64)
        found[self.places] = self.counts
        return found.reshape(classes, classes)


class Semantic:
    """Semantic segmentation.

    maps, placements: of every sample, by its number. sample_loss: (logits (N, K, S, S), label maps (N, S, S)) -> losses
    (N,). view_flips: axes to flip in test-time augmentation; ((),) for none.
    """

    spec = TASKS["semantic"]

    def __init__(
        self,
        classes: tuple[str, ...],
        maps: Sequence[LabelMap],
        placements: Sequence[Placement],
        sample_loss: SampleLoss,
        view_flips: Sequence[tuple[int, ...]] = ((),),
        user_metrics: UserMetrics | None = None,
    ) -> None:
        self.classes, self.maps, self.placements = classes, maps, placements
        self.sample_loss, self.view_flips, self.user_metrics = sample_loss, view_flips, user_metrics

    @classmethod
    def build(cls, data: TaskData) -> Semantic:
        """Create the task from a run's data and settings."""
        maps, config = data.maps, data.config
        assert maps is not None
        loss = build_loss(config.loss, data.class_counts, cls.spec.name)
        flips = view_flips(config.augment) if config.tta else ((),)
        return cls(data.classes, maps.maps, maps.placements, loss, flips, data.metrics)

    def loss(self, model: Callable[..., Any], batch: Batch) -> dict[str, Tensor]:
        """Mean loss and pixel accuracy of a batch."""
        outputs = model(batch.inputs)
        with torch.no_grad():
            kept = batch.targets != IGNORE
            right = (most_likely(outputs, 1) == batch.targets) & kept
            accuracy = right.sum(dtype=torch.float32) / kept.sum().clamp(min=1)
        return {"loss": self.sample_loss(outputs, batch.targets).mean(), "pixel_accuracy": accuracy}

    def predict(
        self, model: nn.Module, batch: Batch, views: ViewFunction | None
    ) -> tuple[list[MapPrediction], list[int]]:
        """Predict each image of a batch, counted against its label map at the image's own size."""
        outputs = model(batch.inputs).float()
        losses = self.sample_loss(outputs, batch.targets).tolist()
        p = probabilities(model, batch.inputs, self.view_flips, outputs)
        index = batch.index.tolist()
        found = [self.counted(i, to_labels(one, self.placements[i]), loss) for i, one, loss in zip(index, p, losses)]
        return found, index

    def counted(self, index: int, labels: np.ndarray, loss: float = 0.0) -> MapPrediction:
        """Count predicted classes (H, W) of sample `index` against its label map."""
        truth, classes = self.maps[index].read(), len(self.classes)
        cells = confusion_of(truth, labels, classes).ravel()
        places = np.flatnonzero(cells)
        boundary = boundary_counts(truth, labels, classes)
        return MapPrediction(index, to_png(labels), places, cells[places], boundary, loss)

    def combine(self, outputs: list[list[MapPrediction]]) -> list[MapPrediction]:
        """Merge the label maps of several networks: the class of most of them at each pixel, in a tie the lowest."""
        merged = []
        for of_image in zip(*outputs):
            maps = [from_png(one.labels) for one in of_image]
            votes = np.zeros((len(self.classes), *maps[0].shape), np.uint8)
            for one in maps:
                np.put_along_axis(votes, one[None], np.take_along_axis(votes, one[None], 0) + 1, 0)
            loss = sum(one.loss for one in of_image) / len(of_image)
            merged.append(self.counted(of_image[0].index, votes.argmax(0).astype(np.uint8), loss))
        return merged

    def metrics(self, evaluation: Evaluation) -> dict[str, float]:
        """Loss and the metrics of one confusion matrix over the split; see `metrics.semantic`."""
        predictions: list[MapPrediction] = evaluation.outputs
        loss = sum(p.loss for p in predictions) / max(len(predictions), 1)
        return {"loss": loss} | semantic_metrics(*self._counts(predictions))

    def _counts(self, predictions: Sequence[MapPrediction]) -> tuple[np.ndarray, np.ndarray]:
        """Confusion matrix and boundary counts of all predictions."""
        classes = len(self.classes)
        confusion, boundary = np.zeros(classes * classes, np.int64), np.zeros((classes, 2), np.int64)
        for one in predictions:
            confusion[one.places] += one.counts
            boundary += one.boundary
        return confusion.reshape(classes, classes), boundary

    def details(
        self, evaluation: Evaluation, name_of: Callable[[int], str], image_of: Callable[[int], str]
    ) -> dict[str, Any]:
        """Confusion matrix of the pixels, scores per class, and example images with true and predicted classes."""
        confusion, boundary = self._counts(evaluation.outputs)
        return {
            "confusion": compact(torch.from_numpy(confusion)),
            "pixel_classes": class_rows(confusion, boundary, self.classes),
            "map_examples": self._examples(evaluation.outputs, name_of, image_of),
        }

    def _examples(
        self, predictions: Sequence[MapPrediction], name_of: Callable[[int], str], image_of: Callable[[int], str]
    ) -> list[dict[str, Any]]:
        """Images with the lowest mean IoU, and a regular sample of the others."""
        rows = sorted(((self._iou(one), one.index, one) for one in predictions), key=lambda row: row[:2])
        if len(rows) > MAX_EXAMPLES_SHOWN:
            half = MAX_EXAMPLES_SHOWN // 2
            rows = rows[:half] + rows[half :: max(1, len(rows) // half)][:half]
        examples = []
        for iou, index, one in rows:
            truth, labels = self.maps[index].read(), from_png(one.labels)
            shown = sorted(set(np.unique(truth).tolist()) | set(np.unique(labels).tolist()))
            examples.append(
                {
                    "name": name_of(index),
                    "image": image_of(index),
                    "iou": iou,
                    "true": as_uri(truth, self.classes),
                    "found": as_uri(labels, self.classes),
                    "classes": [k for k in shown if k != IGNORE],
                }
            )
        return examples

    def _iou(self, one: MapPrediction) -> float:
        confusion = one.confusion(len(self.classes))
        iou, present = iou_per_class(confusion), confusion.sum(1) > 0
        return float(iou[present].mean()) if present.any() else 1.0


def probabilities(
    model: nn.Module, images: Tensor, flips: Sequence[tuple[int, ...]] = ((),), plain: Tensor | None = None
) -> Tensor:
    """Class probabilities (N, K, S, S), mean over the flipped views. plain: logits of the images, where known."""
    total: Tensor | None = None
    for axes in flips:
        if axes:
            p = model(images.flip(axes)).float().softmax(1).flip(axes)
        else:
            p = (model(images).float() if plain is None else plain).softmax(1)
        total = p if total is None else total + p
    assert total is not None
    return total / len(flips)


def most_likely(scores: Tensor, dim: int) -> Tensor:
    """Index of the largest score along `dim`, the first one in a tie.

    `argmax` returns the same, but takes seven times as long on a CPU along any dimension but the last.
    """
    return scores.max(dim).indices


def to_labels(p: Tensor, placement: Placement) -> np.ndarray:
    """Classes at the pixels of the original image, uint8 (H, W), from probabilities on the canvas (K, S, S).

    The probabilities of the image's rectangle are resized bilinearly; those of very large images by less, and the
    classes then to the nearest pixel.
    """
    (left, top), (x, y), (height, width) = placement.offset, placement.scale, placement.original
    rows, columns = max(1, round(height * y)), max(1, round(width * x))
    inside = p[:, round(top) : round(top) + rows, round(left) : round(left) + columns]
    size = (height, width)
    if len(p) * height * width > MAX_RESIZED:
        reduced = (MAX_RESIZED / (len(p) * height * width)) ** 0.5
        size = (max(rows, round(height * reduced)), max(columns, round(width * reduced)))
    labels = most_likely(F.interpolate(inside[None], size, mode="bilinear", align_corners=False)[0], 0).to(torch.uint8)
    if size != (height, width):
        labels = F.interpolate(labels[None, None], (height, width), mode="nearest-exact")[0, 0]
    return labels.cpu().numpy()


def to_png(labels: np.ndarray) -> bytes:
    """A label map as a grey PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def from_png(content: bytes) -> np.ndarray:
    """The label map of `to_png`, uint8 (H, W)."""
    from PIL import Image

    return np.array(Image.open(io.BytesIO(content)))


def as_uri(labels: np.ndarray, classes: Sequence[str]) -> str:
    """A label map as a data URI: a PNG in the colours of the classes, ignored pixels and the background transparent."""
    from PIL import Image

    from danlu.data.label_maps import BACKGROUND
    from danlu.data.label_palette import palette

    longest = max(labels.shape)
    step = max(1, -(-longest // EXAMPLE_SIDE))
    image = Image.fromarray(np.ascontiguousarray(labels[step // 2 :: step, step // 2 :: step]), "P")
    image.putpalette([value for colour in palette(len(classes)) for value in colour])
    clear = bytes(0 if k == IGNORE or (k < len(classes) and classes[k] == BACKGROUND) else 255 for k in range(256))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True, transparency=clear)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"

"""Loss between a set of predictions and the set of objects of an image (Carion et al. 2020, section 3.1).

The cost of a pair, by which queries are matched to objects, and the loss of the matched pairs have the same weights.
N images, Q queries, M objects (padded), K classes. Boxes are (cx, cy, w, h) relative to the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.detection.boxes import convert, giou, iou
from danlu.detection.matching import BACKGROUND, IGNORED, leave_out_ignored, matched_boxes, matched_labels
from danlu.detection.set_matching import box_costs, match_one_to_one
from danlu.objects import ObjectBatch

L1_WEIGHT, GIOU_WEIGHT = 5.0, 2.0
NO_OBJECT_WEIGHT = 0.1  # of "no object" in the cross-entropy: most queries have none
ALPHA, GAMMA = 0.75, 2.0  # of the weights of the varifocal loss


class SetPrediction(NamedTuple):
    """Predictions of one layer: class logits (N, Q, K or K + 1) and boxes (N, Q, 4)."""

    logits: Tensor
    boxes: Tensor


class ClassRule(Protocol):
    """Cost, loss and probabilities of class logits."""

    weight: float

    def costs(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cost of every pair: logits (N, Q, ...), labels int64 (N, M) -> (N, Q, M)."""
        ...

    def loss(self, logits: Tensor, labels: Tensor, quality: Tensor, count: Tensor) -> Tensor:
        """Loss of a batch. labels: int64 (N, Q), BACKGROUND or IGNORED without an object. quality: IoU (N, Q) of the
        predicted box with its object. count: number of objects in the batch."""
        ...

    def probabilities(self, logits: Tensor) -> Tensor:
        """Probability of each class, (N, Q, K)."""
        ...


class SoftmaxClasses:
    """K classes and "no object" last, as published: cost -p(class), weighted mean of the cross-entropy."""

    weight = 1.0

    def costs(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the cost of every pair, (N, Q, M), of logits (N, Q, ...) and labels int64 (N, M)."""
        return -_of_classes(logits.float().softmax(-1), labels)

    def loss(self, logits: Tensor, labels: Tensor, quality: Tensor, count: Tensor) -> Tensor:
        """Return the weighted mean of the cross-entropy of logits (N, Q, K + 1) and labels (N, Q)."""
        last = logits.shape[-1] - 1
        entropy = F.cross_entropy(
            logits.float().flatten(0, 1), labels.masked_fill(labels < 0, last).flatten(), reduction="none"
        )
        weights = torch.where(labels == BACKGROUND, NO_OBJECT_WEIGHT, (labels != IGNORED).float()).flatten()
        return (entropy * weights).sum() / weights.sum().clamp(min=NO_OBJECT_WEIGHT)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return probabilities (N, Q, K) of logits (N, Q, K + 1), without "no object"."""
        return logits.float().softmax(-1)[..., :-1]


class SigmoidClasses:
    """K independent probabilities, trained to be the IoU of the predicted box with its object.

    A score that predicts the IoU ranks the well-placed box of several before the others. Queries without an object have
    the weights of the varifocal loss (Zhang et al. 2021), by which the many easy ones hardly count; those with one have
    plain binary cross-entropy, so that the wrong classes of an object count in full.
    """

    weight = 2.0

    def costs(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the cost of every pair, (N, Q, M), of logits (N, Q, ...) and labels int64 (N, M)."""
        own = _of_classes(logits.float(), labels)
        p = own.sigmoid()
        return 0.25 * (1 - p).square() * F.softplus(-own) - 0.75 * p.square() * F.softplus(own)

    def loss(self, logits: Tensor, labels: Tensor, quality: Tensor, count: Tensor) -> Tensor:
        """Return the loss of logits (N, Q, K); the target of the class of a matched query is `quality` (N, Q)."""
        targets = torch.zeros_like(logits, dtype=torch.float32)
        targets.scatter_(2, labels.clamp(min=0)[..., None], (quality * (labels >= 0))[..., None])
        entropy = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
        empty = ALPHA * logits.float().sigmoid().pow(GAMMA)
        weights = torch.where((labels >= 0)[..., None], 1.0, empty) * (labels != IGNORED)[..., None]
        return (entropy * weights).sum() / count

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return probabilities (N, Q, K) of logits (N, Q, K)."""
        return logits.float().sigmoid()


class SetLoss:
    """Class loss, L1 and GIoU of matched pairs, each divided by the number of objects in the batch.

    size: (height, width) of the images in pixels.
    """

    def __init__(self, classes: ClassRule) -> None:
        self.classes = classes

    def match(self, prediction: SetPrediction, objects: ObjectBatch, size: tuple[int, int]) -> Tensor:
        """Index of each query's object, int64 (N, Q); BACKGROUND, or IGNORED for a box in an ignored region."""
        logits, boxes = prediction
        targets = relative(objects.boxes, size)
        costs = self.classes.weight * self.classes.costs(logits.detach(), objects.labels.clamp(min=0))
        costs = costs + box_costs(boxes.detach(), targets, l1=L1_WEIGHT, giou_weight=GIOU_WEIGHT)
        return leave_out_ignored(match_one_to_one(costs, objects), objects, in_pixels(boxes.detach(), size))

    def layer(self, prediction: SetPrediction, objects: ObjectBatch, size: tuple[int, int]) -> dict[str, Tensor]:
        """Losses of one layer without their weights: "class", "box" (1 - GIoU) and "l1"."""
        logits, boxes = prediction[0].float(), prediction[1].float()
        matched = self.match(prediction, objects, size)
        count = objects.valid.sum().clamp(min=1)
        positive = matched >= 0
        targets = relative(matched_boxes(objects, matched), size)[positive]
        mine = boxes[positive]
        one, other = convert(mine, "cxcywh", "xyxy"), convert(targets, "cxcywh", "xyxy")
        quality = torch.zeros_like(boxes[..., 0])
        quality[positive] = iou(one, other).detach()
        return {
            "class": self.classes.loss(logits, matched_labels(objects, matched), quality, count),
            "box": (1 - giou(one, other)).sum() / count,
            "l1": (mine - targets).abs().sum() / count,
        }

    def __call__(
        self, layers: Sequence[SetPrediction], objects: ObjectBatch, size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Weighted sum over all layers as "loss", the losses of the last layer, and "auxiliary", those of the others.

        Every layer is matched on its own.
        """
        found = [self.layer(one, objects, size) for one in layers]
        totals = [self.total(one) for one in found]
        auxiliary = torch.stack(totals[:-1]).sum() if totals[1:] else torch.zeros_like(totals[-1])
        return {"loss": totals[-1] + auxiliary, **found[-1], "auxiliary": auxiliary}

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """Weighted sum of the losses of a layer."""
        return self.classes.weight * losses["class"] + GIOU_WEIGHT * losses["box"] + L1_WEIGHT * losses["l1"]


def relative(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Corners in pixels (..., 4) -> centre and size relative to the image of (height, width) pixels."""
    return convert(boxes, "xyxy", "cxcywh") / boxes.new_tensor([size[1], size[0], size[1], size[0]])


def in_pixels(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Inverse of `relative`, float32."""
    boxes = boxes.float()
    return convert(boxes, "cxcywh", "xyxy") * boxes.new_tensor([size[1], size[0], size[1], size[0]])


def _of_classes(table: Tensor, labels: Tensor) -> Tensor:
    """Columns of the objects' classes: (N, Q, K), int64 (N, M) -> (N, Q, M)."""
    return table.gather(2, labels[:, None].expand(-1, table.shape[1], -1))

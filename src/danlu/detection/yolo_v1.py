"""YOLO v1: one coarse grid over the image; the cell that contains an object's centre predicts it (Redmon et al. 2016).

A cell predicts two boxes with a confidence each, and one class for both. The known limitation is kept: a cell can
predict only one object, so most objects of a dense group of small ones are missed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from danlu.detection.anchors import cells
from danlu.detection.boxes import clip, convert, giou, iou
from danlu.detection.dense import Candidates, DenseDetector
from danlu.detection.matching import BACKGROUND, leave_out_ignored, matched_boxes, matched_labels
from danlu.detection.neck import remove_later_stages
from danlu.detection.norms import set_norm
from danlu.models.backbone import Backbone
from danlu.models.parts import conv
from danlu.objects import ObjectBatch

BOXES = 2  # per cell
MIN_CELLS = 7  # per side of the grid: the coarsest stage of the backbone with at least this number is used
BOX_WEIGHT, NO_OBJECT_WEIGHT = 5.0, 0.5  # of the coordinate loss, and of the confidence loss without an object
CANDIDATES = 1000  # top-scoring pairs of box and class that enter non-maximum suppression


class YOLOv1(DenseDetector):
    """YOLO v1 on one stage of a backbone; later stages are removed.

    width: channels of the two 3x3 convolutions of the head. norm: see `norms.set_norm`. Convolutions on the grid
    replace the paper's dense layers, whose 270 million weights are specific to each cell.
    """

    def __init__(self, backbone: Backbone, classes: int, size: int, *, width: int = 256, norm: str = "batch") -> None:
        super().__init__()
        added = set_norm(backbone, norm)
        strides = backbone.feature_strides
        remove_later_stages(
            backbone, max([i for i, stride in enumerate(strides) if size / stride >= MIN_CELLS], default=0)
        )
        self.backbone, self.classes = backbone, classes
        self.stage, self.stride = len(backbone.feature_strides) - 1, backbone.feature_strides[-1]
        self.head = nn.Sequential(
            conv(backbone.feature_channels[-1], width, 3, norm=added, activation="leaky"),
            conv(width, width, 3, norm=added, activation="leaky"),
            nn.Conv2d(width, BOXES * 5 + classes, 1),
        )

    def outputs(self, images: Tensor) -> dict[str, Any]:
        """Per cell: boxes (N, A, B, 4) in pixels, roots (N, A, B, 4), confidence (N, A, B) and classes (N, A, K).

        roots: centre within its cell, and square roots of width and height as fractions of the image.
        """
        x = self.head(self.backbone.features(images)[self.stage]).float()
        grid, size = (x.shape[-2], x.shape[-1]), tuple(images.shape[-2:])
        x = x.flatten(2).transpose(1, 2)
        box_outputs = x[..., : BOXES * 5].unflatten(2, (BOXES, 5))
        roots = box_outputs[..., :4].sigmoid()
        corner = torch.cat(cells([grid], [self.stride], offset=0.5)).to(x.device)[:, None, :2]
        centre = corner + roots[..., :2] * self.stride
        shape = roots[..., 2:].square() * x.new_tensor([size[1], size[0]])
        boxes = convert(torch.cat([centre, shape], -1), "cxcywh", "xyxy")
        confidence, classes = box_outputs[..., 4].sigmoid(), x[..., BOXES * 5 :].softmax(2)
        return {
            "boxes": boxes, "roots": roots, "confidence": confidence, "classes": classes, "cells": grid, "size": size,
        }  # fmt: skip

    def losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        """Squared errors, summed over each image and averaged over the batch."""
        boxes, roots = outputs["boxes"].float(), outputs["roots"].float()
        confidence, classes = outputs["confidence"].float(), outputs["classes"].float()
        matched = self._match(objects, outputs["cells"])
        cell, wanted = matched >= 0, matched_boxes(objects, matched)
        with torch.no_grad():
            # The box with the highest IoU is responsible for the object; if all are 0, the one with the highest GIoU.
            box_iou = iou(boxes, wanted[:, :, None])
            fit = box_iou.where(box_iou.amax(2, keepdim=True) > 0, giou(boxes, wanted[:, :, None]))
            best = fit.argmax(2, keepdim=True)
            reached = box_iou.gather(2, best)[..., 0]
            target = self._roots(wanted, outputs["size"])
        chosen = best[..., None].expand(-1, -1, -1, 4)
        coordinates = (roots.gather(2, chosen)[:, :, 0] - target).square().sum(2) * cell
        sure = confidence.gather(2, best)[..., 0]
        some = (sure - reached).square() * cell
        # Confidence of boxes without an object: all of an empty cell, all but the responsible one elsewhere.
        every = confidence.square().sum(2)
        none = every * (matched == BACKGROUND) + (every - sure.square()) * cell
        labels = matched_labels(objects, matched).clamp(min=0)
        kinds = (classes.square().sum(2) - 2 * classes.gather(2, labels[..., None])[..., 0] + 1) * cell
        parts = {
            "class": kinds.sum(1).mean(),
            "box": BOX_WEIGHT * coordinates.sum(1).mean(),
            "objectness": (some.sum(1) + NO_OBJECT_WEIGHT * none.sum(1)).mean(),
        }
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    def candidates(self, outputs: dict[str, Any]) -> Candidates:
        """Score = confidence of the box x class probability of the cell."""
        boxes = clip(outputs["boxes"].float().flatten(1, 2), *outputs["size"])
        products = outputs["confidence"].float()[..., None] * outputs["classes"].float()[:, :, None]
        scores = products.flatten(1)
        scores, pair = scores.topk(min(CANDIDATES, scores.shape[1]), dim=1)
        labels = pair % self.classes
        boxes = boxes.gather(1, (pair // self.classes)[..., None].expand(-1, -1, 4))
        return Candidates(boxes, scores, labels)

    def _match(self, objects: ObjectBatch, grid: tuple[int, int]) -> Tensor:
        """The object of each cell, (N, A) as in `matching`; the first of several in one cell."""
        column, row = self._cell(objects.boxes, grid).unbind(2)
        images, most = objects.labels.shape
        number = (row * grid[1] + column).where(objects.valid, grid[0] * grid[1])  # an extra cell for padding
        names = torch.arange(most, device=number.device).expand(images, -1)
        matched = names.new_full((images, grid[0] * grid[1] + 1), most).scatter_reduce(1, number, names, "amin")
        matched = matched[:, :-1].masked_fill(matched[:, :-1] == most, BACKGROUND)
        return leave_out_ignored(
            matched, objects, torch.cat(cells([grid], [self.stride], offset=0.5)).to(number.device)
        )

    def _cell(self, boxes: Tensor, grid: tuple[int, int]) -> Tensor:
        """Column and row of the cell of each box's centre, int64 (..., 2)."""
        centre = (boxes[..., :2] + boxes[..., 2:]) / 2
        last = torch.tensor([grid[1] - 1, grid[0] - 1], device=boxes.device)
        return torch.minimum((centre / self.stride).long().clamp(min=0), last)

    def _roots(self, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """Encode boxes as in `outputs`; square roots give an error of a pixel more weight in small boxes."""
        centre, shape = convert(boxes, "xyxy", "cxcywh").split(2, -1)
        relative_size = shape / shape.new_tensor([size[1], size[0]])
        return torch.cat([(centre / self.stride).frac(), relative_size.clamp(0, 1).sqrt()], -1)

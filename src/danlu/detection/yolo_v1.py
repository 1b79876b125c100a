"""YOLO's first idea: one coarse grid over the image, and the cell that an object's centre falls into answers for it.

A cell tells two boxes with their confidence, and one class for both (Redmon et al. 2016). What follows from that is
left as it is: of two objects in one cell one is lost, and of a flock of small birds most are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from danlu.detection.anchors import cells
from danlu.detection.boxes import clip, convert, giou, iou
from danlu.detection.detector import Detector
from danlu.detection.matching import BACKGROUND, leave_out_ignored, matched_boxes, matched_labels
from danlu.detection.neck import cut
from danlu.detection.nms import batched_nms
from danlu.detection.norms import set_norm
from danlu.models.backbone import Backbone
from danlu.models.parts import conv
from danlu.objects import Detections, ObjectBatch

BOXES = 2  # of a cell
LEAST_CELLS = 7  # to each side of the grid: the backbone is read at the coarsest stage that has so many
COORDINATES, NO_OBJECT = 5.0, 0.5  # weights of the boxes, and of the confidence where there is no object
CANDIDATES = 1000  # pairs of a box and a class, by score, that are looked at for overlaps


class YOLOv1(Detector):
    """backbone: read at one stage, those after it are taken off. width: channels of the two 3x3 that follow.

    norm: see `norms.set_norm`. In place of the paper's dense layers, whose 270 million weights tie every cell to its
    place, the grid's own cells are read by convolutions.
    """

    def __init__(self, backbone: Backbone, classes: int, size: int, *, width: int = 256, norm: str = "batch") -> None:
        super().__init__()
        added = set_norm(backbone, norm)
        strides = backbone.feature_strides
        cut(backbone, max([i for i, stride in enumerate(strides) if size / stride >= LEAST_CELLS], default=0))
        self.backbone, self.classes = backbone, classes
        self.stage, self.stride = len(backbone.feature_strides) - 1, backbone.feature_strides[-1]
        self.head = nn.Sequential(
            conv(backbone.feature_channels[-1], width, 3, norm=added, activation="leaky"),
            conv(width, width, 3, norm=added, activation="leaky"),
            nn.Conv2d(width, BOXES * 5 + classes, 1),
        )

    def outputs(self, images: Tensor) -> dict[str, Any]:
        """Of the A cells: boxes (N, A, B, 4) in pixels, roots (N, A, B, 4): centre in its cell and roots of the size's
        share of the image, confidence (N, A, B), classes (N, A, K)."""
        x = self.head(self.backbone.features(images)[self.stage]).float()
        grid, size = (x.shape[-2], x.shape[-1]), tuple(images.shape[-2:])
        x = x.flatten(2).transpose(1, 2)
        told = x[..., : BOXES * 5].unflatten(2, (BOXES, 5))
        roots = told[..., :4].sigmoid()
        corner = torch.cat(cells([grid], [self.stride], offset=0.5)).to(x.device)[:, None, :2]
        centre = corner + roots[..., :2] * self.stride
        shape = roots[..., 2:].square() * x.new_tensor([size[1], size[0]])
        boxes = convert(torch.cat([centre, shape], -1), "cxcywh", "xyxy")
        confidence, classes = told[..., 4].sigmoid(), x[..., BOXES * 5 :].softmax(2)
        return {
            "boxes": boxes, "roots": roots, "confidence": confidence, "classes": classes, "cells": grid, "size": size,
        }  # fmt: skip

    def losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        """Squared errors, all of them; sums over an image, means over the batch."""
        boxes, roots = outputs["boxes"].float(), outputs["roots"].float()
        confidence, classes = outputs["confidence"].float(), outputs["classes"].float()
        matched = self._match(objects, outputs["cells"])
        cell, wanted = matched >= 0, matched_boxes(objects, matched)
        with torch.no_grad():
            # Of a cell's boxes the one that overlaps most answers; where none does, GIoU says which is nearer.
            overlap = iou(boxes, wanted[:, :, None])
            fit = overlap.where(overlap.amax(2, keepdim=True) > 0, giou(boxes, wanted[:, :, None]))
            best = fit.argmax(2, keepdim=True)
            reached = overlap.gather(2, best)[..., 0]
            target = self._roots(wanted, outputs["size"])
        chosen = best[..., None].expand(-1, -1, -1, 4)
        coordinates = (roots.gather(2, chosen)[:, :, 0] - target).square().sum(2) * cell
        sure = confidence.gather(2, best)[..., 0]
        some = (sure - reached).square() * cell
        # Confidence of all boxes that answer for nothing: all of them in an empty cell, all but one elsewhere.
        every = confidence.square().sum(2)
        none = every * (matched == BACKGROUND) + (every - sure.square()) * cell
        labels = matched_labels(objects, matched).clamp(min=0)
        kinds = (classes.square().sum(2) - 2 * classes.gather(2, labels[..., None])[..., 0] + 1) * cell
        parts = {
            "class": kinds.sum(1).mean(),
            "box": COORDINATES * coordinates.sum(1).mean(),
            "objectness": (some.sum(1) + NO_OBJECT * none.sum(1)).mean(),
        }
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    @torch.no_grad()
    def detect(
        self, outputs: dict[str, Any], min_score: float = 0.05, nms_iou: float = 0.5, max_detections: int = 100
    ) -> list[Detections]:
        """A box's score for a class is its confidence times the class's share in the cell."""
        boxes = clip(outputs["boxes"].float().flatten(1, 2), *outputs["size"])
        shares = outputs["confidence"].float()[..., None] * outputs["classes"].float()[:, :, None]
        scores = shares.flatten(1)
        scores, pair = scores.topk(min(CANDIDATES, scores.shape[1]), dim=1)
        labels = pair % self.classes
        boxes = boxes.gather(1, (pair // self.classes)[..., None].expand(-1, -1, 4))
        chosen, taken = batched_nms(
            boxes, scores, labels, iou_threshold=nms_iou, max_detections=max_detections, min_score=min_score
        )
        kept = [c[t] for c, t in zip(chosen, taken)]
        return [Detections(boxes[i, k], scores[i, k], labels[i, k]) for i, k in enumerate(kept)]

    def _match(self, objects: ObjectBatch, grid: tuple[int, int]) -> Tensor:
        """Which object each cell answers for, (N, A) as in `matching`; of several in one cell the first."""
        column, row = self._place(objects.boxes, grid).unbind(2)
        images, most = objects.labels.shape
        number = (row * grid[1] + column).where(objects.valid, grid[0] * grid[1])  # one cell more for what is none
        names = torch.arange(most, device=number.device).expand(images, -1)
        matched = names.new_full((images, grid[0] * grid[1] + 1), most).scatter_reduce(1, number, names, "amin")
        matched = matched[:, :-1].masked_fill(matched[:, :-1] == most, BACKGROUND)
        return leave_out_ignored(
            matched, objects, torch.cat(cells([grid], [self.stride], offset=0.5)).to(number.device)
        )

    def _place(self, boxes: Tensor, grid: tuple[int, int]) -> Tensor:
        """Column and row of the cell of each box's centre, int64 (..., 2)."""
        centre = (boxes[..., :2] + boxes[..., 2:]) / 2
        last = torch.tensor([grid[1] - 1, grid[0] - 1], device=boxes.device)
        return torch.minimum((centre / self.stride).long().clamp(min=0), last)

    def _roots(self, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """Boxes as the network tells them: roots let an error of a pixel count more in a small box than in a large."""
        centre, shape = convert(boxes, "xyxy", "cxcywh").split(2, -1)
        share = shape / shape.new_tensor([size[1], size[0]])
        return torch.cat([(centre / self.stride).frac(), share.clamp(0, 1).sqrt()], -1)

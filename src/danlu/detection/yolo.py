"""An anchor-free YOLO: every cell of three maps predicts class scores and the distances to the sides of a box.

The design follows YOLOX (Ge et al. 2021): a pyramid with a top-down and a bottom-up path, separate branches for class
and box, and SimOTA, which assigns to each object the cells with the best predictions. As in RTMDet (Lyu et al. 2022)
there is no objectness; the target of the class score is the IoU of the predicted box.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.detection.anchors import cells
from danlu.detection.box_losses import quality_focal
from danlu.detection.boxes import clip, giou
from danlu.detection.coding import DistanceCoder
from danlu.detection.dense import Candidates, DenseDetector
from danlu.detection.matching import IGNORED, match_simota, matched_boxes, matched_labels
from danlu.models.backbone import Backbone
from danlu.models.networks.cspnet import CSP
from danlu.models.parts import conv
from danlu.objects import ObjectBatch

LEVELS = 3
RADIUS, TOP, IOU_WEIGHT = 2.5, 10, 3.0  # of SimOTA, see `match_simota`
BOX_WEIGHT = 2.0  # relative to the class loss, as in RTMDet
PRIOR = 0.01  # initial probability of every class at every cell: most cells are background (Lin et al. 2017)
CANDIDATES = 1000  # top-scoring boxes per image that enter non-maximum suppression


class Pyramid(nn.Module):
    """A path aggregation network: a top-down path, then a bottom-up path (Liu et al. 2018, PAN).

    widths: channels of the input maps, fine to coarse. strides: of these maps, in pixels; neighbours may have the same,
    as those of DetNet. Output maps have `width` channels.
    """

    def __init__(self, widths: list[int], strides: Sequence[int], width: int, norm: str) -> None:
        super().__init__()
        block = partial(conv, norm=norm, activation="silu")
        self.enter = nn.ModuleList(block(w, width, 1) for w in widths)
        self.down = nn.ModuleList(CSP(2 * width, width, 1, norm) for _ in widths[1:])
        self.shrink = nn.ModuleList(block(width, width, 3, stride=b // a) for a, b in pairwise(strides))
        self.up = nn.ModuleList(CSP(2 * width, width, 1, norm) for _ in widths[1:])

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Return maps of the same sizes as those given, fine to coarse, all with `width` channels."""
        maps = [enter(x) for enter, x in zip(self.enter, maps)]
        for i in reversed(range(len(maps) - 1)):
            coarse = F.interpolate(maps[i + 1], size=maps[i].shape[-2:], mode="nearest")
            maps[i] = self.down[i](torch.cat([coarse, maps[i]], 1))
        for i in range(1, len(maps)):
            maps[i] = self.up[i - 1](torch.cat([self.shrink[i - 1](maps[i - 1]), maps[i]], 1))
        return maps


class Head(nn.Module):
    """Two branches of two 3x3 convolutions for one map: class logits (N, K, H, W) and box codes (N, 4, H, W)."""

    def __init__(self, width: int, classes: int, norm: str) -> None:
        super().__init__()
        block = partial(conv, norm=norm, activation="silu")
        self.class_branch = nn.Sequential(block(width, width, 3), block(width, width, 3))
        logits = nn.Conv2d(width, classes, 1)
        self.class_branch.append(logits)
        self.box_branch = nn.Sequential(block(width, width, 3), block(width, width, 3))
        codes = nn.Conv2d(width, 4, 1)
        self.box_branch.append(codes)
        nn.init.constant_(cast(Tensor, logits.bias), -math.log((1 - PRIOR) / PRIOR))
        nn.init.zeros_(codes.weight)
        nn.init.constant_(cast(Tensor, codes.bias), 1.0)  # initial boxes: e strides to every side

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return class logits (N, K, H, W) and box codes (N, 4, H, W) of a map (N, C, H, W)."""
        return self.class_branch(x), self.box_branch(x)


class YOLO(DenseDetector):
    """YOLO on the last three maps of a backbone, usually of strides 8, 16, 32. width: channels of pyramid and head."""

    default_nms_iou = 0.6

    def __init__(self, backbone: Backbone, classes: int, size: int, *, width: int = 64, norm: str = "batch") -> None:
        super().__init__()
        self.backbone = backbone
        self.strides = backbone.feature_strides[-LEVELS:]
        self.pyramid = Pyramid(list(backbone.feature_channels[-LEVELS:]), self.strides, width, norm)
        self.heads = nn.ModuleList(Head(width, classes, norm) for _ in self.strides)
        self.coder = DistanceCoder(log=True)

    def outputs(self, images: Tensor) -> dict[str, Any]:
        """boxes (N, A, 4) in pixels and logits (N, A, K), cells of the fine map first."""
        maps = self.pyramid(self.backbone.features(images)[-LEVELS:])
        predictions = [head(x) for head, x in zip(self.heads, maps)]
        logits, codes = (
            torch.cat([x.flatten(2).transpose(1, 2) for x in part], 1).float() for part in zip(*predictions)
        )
        sizes = [tuple(x.shape[-2:]) for x in maps]
        squares = torch.cat(cells(sizes, self.strides, offset=0.5)).to(codes.device)
        boxes = self.coder.decode(codes, squares)
        return {"boxes": boxes, "logits": logits, "map_sizes": sizes, "size": tuple(images.shape[-2:])}

    def losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        """Match predictions with objects by SimOTA and compute the losses of boxes and classes."""
        boxes, logits = outputs["boxes"].float(), outputs["logits"].float()
        with torch.no_grad():
            matched, quality = match_simota(
                objects,
                boxes,
                logits,
                None,
                map_sizes=outputs["map_sizes"],
                strides=self.strides,
                radius=RADIUS,
                top=TOP,
                iou_weight=IOU_WEIGHT,
            )
            positive = matched >= 0
            labels = matched_labels(objects, matched).clamp(min=0)
            wanted = torch.zeros_like(logits).scatter_(2, labels[..., None], (quality * positive)[..., None])
            total = quality.mul(positive).sum().clamp(min=1)
        class_loss = (quality_focal(logits, wanted, beta=2.0).sum(2) * (matched != IGNORED)).sum() / total
        similarity = giou(boxes[positive], matched_boxes(objects, matched)[positive])
        box_loss = ((1 - similarity) * quality[positive]).sum() / total
        return {"loss": class_loss + BOX_WEIGHT * box_loss, "class": class_loss, "box": box_loss}

    def candidates(self, outputs: dict[str, Any]) -> Candidates:
        """Return the highest scoring boxes before NMS, each with its best class."""
        scores, labels = outputs["logits"].float().sigmoid().max(2)
        boxes = clip(outputs["boxes"].float(), *outputs["size"])
        scores, order = scores.topk(min(CANDIDATES, scores.shape[1]), dim=1)
        boxes, labels = boxes.gather(1, order[..., None].expand(-1, -1, 4)), labels.gather(1, order)
        return Candidates(boxes, scores, labels)

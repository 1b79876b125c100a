"""RetinaNet: a feature pyramid, nine anchors per cell, and the focal loss (Lin et al. 2017).

The focal loss down-weights easy anchors, so that a hundred thousand background anchors do not dominate and no sampling
is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from danlu.detection.anchors import anchors, shapes
from danlu.detection.box_losses import class_focal, smooth_l1
from danlu.detection.boxes import clip
from danlu.detection.coding import DeltaCoder
from danlu.detection.dense import Candidates, DenseDetector
from danlu.detection.matching import IGNORED, match_by_threshold, matched_boxes, matched_labels
from danlu.detection.neck import stages_from
from danlu.detection.norms import set_norm
from danlu.detection.pyramid import FeaturePyramid
from danlu.message import message
from danlu.models.backbone import Backbone
from danlu.models.parts import conv
from danlu.objects import ObjectBatch
from danlu.refuse import refusal

FINEST = 8  # stride of the first level
RATIOS = (2.0, 1.0, 0.5)  # width / height of the anchors
STEPS = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))  # relative sizes of the anchors within a level
HIGH, LOW = 0.5, 0.4  # IoU from which an anchor is positive, and below which it is background
ALPHA, GAMMA = 0.25, 2.0
PRIOR = 0.01  # initial probability of every class at every anchor
CANDIDATES = 1000  # top-scoring anchors per level that enter non-maximum suppression


class Head(nn.Module):
    """3x3 convolutions shared by all levels, then k x `columns` numbers per cell: (N, A_l, columns)."""

    def __init__(self, width: int, depth: int, norm: str, count: int, columns: int, bias: float) -> None:
        super().__init__()
        self.columns = columns
        self.see = nn.Sequential(*(conv(width, width, 3, norm=norm) for _ in range(depth)))
        self.say = nn.Conv2d(width, count * columns, 3, padding=1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        nn.init.constant_(cast(Tensor, self.say.bias), bias)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return values (N, A, columns) of the anchors of each map (N, C, H, W)."""
        outputs = [self.say(self.see(x)) for x in maps]
        return [x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, self.columns) for x in outputs]


class RetinaNet(DenseDetector):
    """RetinaNet on a backbone's maps from stride 8 on.

    width: channels of the pyramid and the heads. depth: convolutions of a head.

    norm: see `norms.set_norm`; heads are shared by levels with different statistics, so they have group norms, or none
    if the backbone's are frozen. anchor: side of the smallest anchors in pixels, doubled at each level. levels: of the
    pyramid, None for those with anchors smaller than the image. The published form for COCO:
    resnet50, width 256, depth 4, norm frozen, anchor 32, levels 5; 34,014,999 parameters for 91 classes.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        size: int,
        *,
        width: int = 64,
        depth: int = 2,
        norm: str = "batch",
        anchor: float = 20.0,
        levels: int | None = None,
    ) -> None:
        super().__init__()
        added = set_norm(backbone, norm)
        self.backbone, self.classes, self.frozen = backbone, classes, norm == "frozen"
        self.stages = stages_from(backbone.feature_strides, FINEST)
        if not self.stages:
            raise refusal(
                "detect.backbone",
                message(
                    "detection.wanted.network_maps_stride_more",
                    "a network with maps of stride {finest} or more",
                    finest=FINEST,
                ),
                backbone.feature_strides,
            )
        strides = [backbone.feature_strides[i] for i in self.stages]
        wanted = levels or max(1, math.ceil(math.log2(size / anchor)))
        extra = max(0, wanted - len(strides))
        self.strides = strides + [strides[-1] * 2 ** (k + 1) for k in range(extra)]
        self.pyramid = FeaturePyramid(
            [backbone.feature_channels[i] for i in self.stages], width, extra=extra, extend="output", norm=added
        )
        self.level_shapes = [
            shapes([anchor * stride / strides[0] * step for step in STEPS], RATIOS, cross=True)
            for stride in self.strides
        ]
        self.offset = 0.5  # anchors at the centres of cells; 0: at their corners, as in torchvision
        count, norm = len(RATIOS) * len(STEPS), "none" if self.frozen else "group"
        self.class_head = Head(width, depth, norm, count, classes, -math.log((1 - PRIOR) / PRIOR))
        self.box_head = Head(width, depth, norm, count, 4, 0.0)
        self.coder = DeltaCoder((1.0, 1.0, 1.0, 1.0))

    def outputs(self, images: Tensor) -> dict[str, Any]:
        """Per level: logits (N, A_l, K), codes (N, A_l, 4), anchors (A_l, 4)."""
        found = self.backbone.features(images)
        maps = self.pyramid([found[i] for i in self.stages])
        sizes = [(x.shape[-2], x.shape[-1]) for x in maps]
        boxes = anchors(sizes, self.strides, self.level_shapes, offset=self.offset)
        return {
            "logits": self.class_head(maps),
            "codes": self.box_head(maps),
            "anchors": [level.to(images.device) for level in boxes],
            "size": tuple(images.shape[-2:]),
        }

    def losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        """Sums over each image divided by its number of positive anchors, averaged over the images."""
        boxes = torch.cat(outputs["anchors"])
        matched = match_by_threshold(objects, boxes, high=HIGH, low=LOW, best_per_object=True)
        positive = matched >= 0
        count = positive.sum(1).clamp(min=1)
        logits = torch.cat(outputs["logits"], 1)
        focal = class_focal(logits, matched_labels(objects, matched), alpha=ALPHA, gamma=GAMMA)
        class_loss = ((focal * (matched != IGNORED)).sum(1) / count).mean()
        image, place = positive.nonzero(as_tuple=True)
        targets = self.coder.encode(matched_boxes(objects, matched)[image, place], boxes[place])
        moved = smooth_l1(torch.cat(outputs["codes"], 1)[image, place], targets, beta=0.0)
        box_loss = (moved / count[image]).sum() / len(matched)
        return {"loss": class_loss + box_loss, "class": class_loss, "box": box_loss}

    def candidates(self, outputs: dict[str, Any]) -> Candidates:
        """Score every anchor for every class."""
        parts = zip(outputs["logits"], outputs["codes"], outputs["anchors"])
        found = [self._top_scoring(logits, codes, boxes) for logits, codes, boxes in parts]
        boxes, scores, labels = (torch.cat(part, 1) for part in zip(*found))
        boxes = clip(boxes, *outputs["size"])
        return Candidates(boxes, scores, labels)

    def _top_scoring(self, logits: Tensor, codes: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Top-scoring pairs of anchor and class of one level: boxes (N, P, 4), scores and labels (N, P)."""
        scores = logits.float().sigmoid().flatten(1)
        scores, pair = scores.topk(min(CANDIDATES, scores.shape[1]), dim=1)
        place = pair // self.classes
        codes = codes.float().gather(1, place[..., None].expand(-1, -1, 4))
        return self.coder.decode(codes, boxes[place]), scores, pair % self.classes

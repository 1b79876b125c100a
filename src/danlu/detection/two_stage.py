"""The second stage of the R-CNN family: features of proposed regions -> what each shows and where its box really is.

Every region is brought to one size, and two dense layers say its class, or that it is background, and how its box must
be moved for each class (Girshick 2015). Who proposes the regions is left open: `propose`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from danlu.detection.box_losses import smooth_l1
from danlu.detection.matching import matched_boxes
from danlu.detection.neck import Neck
from danlu.detection.norms import set_norm
from danlu.detection.region_bags import pyramid_bags
from danlu.detection.region_detector import RegionDetector
from danlu.detection.regions import level_of, pyramid_align, roi_pool
from danlu.models.backbone import Backbone
from danlu.objects import ObjectBatch

POOLED = 7  # cells of a region to each side
SAMPLES = 2  # points of RoIAlign in a cell, to each side
BETA = 1 / 9  # of the box losses: where the square turns straight


class RegionHead(nn.Module):
    """Pooled regions (R, C, 7, 7) -> class logits (R, K + 1), background last, and box codes (R, K, 4)."""

    def __init__(self, channels: int, classes: int, hidden: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(channels * POOLED**2, hidden), nn.Linear(hidden, hidden)
        self.logits, self.codes = nn.Linear(hidden, classes + 1), nn.Linear(hidden, classes * 4)
        for layer in (self.first, self.second):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        for layer, std in ((self.logits, 0.01), (self.codes, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        x = self.second(self.first(pooled.flatten(1)).relu()).relu()
        return self.logits(x).float(), self.codes(x).float().unflatten(1, (-1, 4))


class TwoStage(RegionDetector):
    """backbone, neck, `propose`, and the second stage.

    neck, width, extra: see `Neck`. hidden: units of the dense layers. norm: see `norms.set_norm`. regions,
    positive_share: see `RegionDetector`. finest: regions of less than twice this side, in pixels, are cut from the
    first map, up to four times from the second, and so on. rounded: RoI pooling in place of RoIAlign, for one map.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        size: int,
        *,
        neck: str,
        width: int,
        hidden: int,
        norm: str,
        regions: int,
        positive_share: float,
        finest: float,
        extra: int = 0,
        rounded: bool = False,
    ) -> None:
        super().__init__(classes, regions=regions, positive_share=positive_share)
        added = set_norm(backbone, norm)
        self.backbone = backbone
        self.neck = Neck(backbone, neck, width=width, size=size, norm=added, extra=extra)
        self.pooled_levels = len(self.neck.strides) - extra
        self.head = RegionHead(self.neck.channels, classes, hidden)
        self.finest, self.rounded = finest, rounded
        self.aligned = True  # False: half a cell off, as torchvision's detectors are

    def propose(self, images: Tensor, maps: list[Tensor], regions: Tensor | None) -> dict[str, Any]:
        """At least "proposals", boxes (N, P, 4) in the image without gradient, and "proposed", bool (N, P): False
        fills up the rows of images that have fewer."""
        raise NotImplementedError

    def outputs(self, images: Tensor, regions: Tensor | None = None) -> dict[str, Any]:
        """maps: what regions are cut from, float32. size: of the images. And all that `propose` gives."""
        maps = self.neck(self.backbone.features(images))
        proposed = self.propose(images, maps, regions)
        # In half precision a box would be placed to a whole pixel or two: regions are cut in float32.
        pooled = [x.float() for x in maps[: self.pooled_levels]]
        return {"maps": pooled, "size": tuple(images.shape[-2:]), **proposed}

    def cut(self, maps: list[Tensor], boxes: Tensor, image: Tensor, size: int) -> Tensor:
        """Regions (R, 4) of the images `image` (R,) out of the maps: (R, C, size, size)."""
        if self.rounded:
            return roi_pool(maps[0], boxes, image, size=size, stride=self.neck.strides[0])
        highest = len(maps) - 1
        level = level_of(boxes, lowest=0, highest=highest, canonical_size=self.finest, canonical_level=0)
        strides = self.neck.strides[: len(maps)]
        align = pyramid_bags if maps[0].device.type == "cpu" else pyramid_align
        return align(maps, strides, boxes, image, level, size=size, samples=SAMPLES, aligned=self.aligned)

    def judge(self, maps: list[Tensor], boxes: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (R, K + 1) and box codes (R, K, 4) of regions (R, 4)."""
        return self.head(self.cut(maps, boxes, image, POOLED))

    def region_losses(
        self, outputs: dict[str, Any], objects: ObjectBatch, boxes: Tensor, matched: Tensor, taken: Tensor
    ) -> dict[str, Tensor]:
        """Means over the regions drawn: cross-entropy of the class, and smooth L1 of the box of those that have one."""
        logits, codes = self.judge_drawn(outputs, boxes, taken)
        entropy, labels = self.class_loss(logits, objects, matched, taken)
        positive = (labels >= 0).nonzero()[:, 0]
        targets = self.coder.encode(matched_boxes(objects, matched)[taken][positive], boxes[taken][positive])
        moved = smooth_l1(codes[positive, labels[positive]], targets, beta=BETA)
        return {"class": entropy, "box": moved.sum() / max(len(labels), 1)}

    def losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        parts = self.region_losses(outputs, objects, *self.draw(outputs, objects))
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

"""The second stage of Fast, Faster and Mask R-CNN: classify pooled regions and refine their boxes.

Every region is pooled to one size; two dense layers predict its class, including background, and a box offset per class
(Girshick 2015). Subclasses define the proposals (`propose`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from danlu.detection.box_losses import smooth_l1
from danlu.detection.matching import matched_boxes
from danlu.detection.neck import Neck
from danlu.detection.region_bags import pyramid_bags
from danlu.detection.region_detector import RegionDetector
from danlu.detection.regions import level_of, pyramid_align, roi_pool
from danlu.models.backbone import Backbone
from danlu.objects import ObjectBatch

POOLED_SIZE = 7  # cells per side of a pooled region
SAMPLES = 2  # RoIAlign sampling points per side of a cell
BETA = 1 / 9  # smooth L1: error at which the loss becomes linear


class RegionHead(nn.Module):
    """Pooled regions (R, C, 7, 7) -> class logits (R, K + 1), background last, and box codes (R, K, 4)."""

    def __init__(self, channels: int, classes: int, hidden: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(channels * POOLED_SIZE**2, hidden), nn.Linear(hidden, hidden)
        self.logits, self.codes = nn.Linear(hidden, classes + 1), nn.Linear(hidden, classes * 4)
        for layer in (self.first, self.second):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        for layer, std in ((self.logits, 0.01), (self.codes, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Return class logits (R, K + 1) and box codes (R, K, 4) of pooled regions (R, C, 7, 7)."""
        x = self.second(self.first(pooled.flatten(1)).relu()).relu()
        return self.logits(x).float(), self.codes(x).float().unflatten(1, (-1, 4))


class TwoStage(RegionDetector):
    """Detector of a backbone, a neck, region proposals (`propose`), and the second stage.

    finest: side in pixels; regions smaller than 2 finest are pooled from the first map, those smaller than 4 finest
    from the second, and so on. rounded: RoI pooling instead of RoIAlign, for a single map. hidden: units of the dense
    layers. regions, positive_fraction: see `RegionDetector`.
    """

    def __init__(
        self,
        backbone: Backbone,
        neck: Neck,
        classes: int,
        finest: float = 1.0,
        rounded: bool = False,
        *,
        hidden: int = 256,
        regions: int = 32,
        positive_fraction: float = 0.5,
    ) -> None:
        super().__init__(classes, regions=regions, positive_fraction=positive_fraction)
        self.backbone, self.neck = backbone, neck
        self.pooled_levels = len(neck.strides) - neck.extra
        self.head = RegionHead(self.neck.channels, classes, hidden)
        self.finest, self.rounded = finest, rounded
        self.aligned = True  # False: half a cell off, as in torchvision's detectors

    def propose(self, images: Tensor, maps: list[Tensor], regions: Tensor | None) -> dict[str, Any]:
        """Return at least "proposals", boxes (N, P, 4) without gradient, and "proposed", bool (N, P); False: padding.

        images: (N, C, S, S). maps: of the neck. regions: result of `search`, if already computed.
        """
        raise NotImplementedError

    def outputs(self, images: Tensor, regions: Tensor | None = None) -> dict[str, Any]:
        """Return "maps" (to pool regions from, float32), "size" of the images, and the outputs of `propose`."""
        maps = self.neck(self.backbone.features(images))
        proposed = self.propose(images, maps, regions)
        # Pool in float32: in half precision box coordinates are off by a pixel or two.
        pooled = [x.float() for x in maps[: self.pooled_levels]]
        return {"maps": pooled, "size": tuple(images.shape[-2:]), **proposed}

    def pool_regions(self, maps: list[Tensor], boxes: Tensor, image: Tensor, size: int) -> Tensor:
        """Pool regions (R, 4) of the images `image` (R,) from the maps: (R, C, size, size)."""
        if self.rounded:
            return roi_pool(maps[0], boxes, image, size=size, stride=self.neck.strides[0])
        highest = len(maps) - 1
        level = level_of(boxes, lowest=0, highest=highest, canonical_size=self.finest, canonical_level=0)
        strides = self.neck.strides[: len(maps)]
        align = pyramid_bags if maps[0].device.type == "cpu" else pyramid_align
        return align(maps, strides, boxes, image, level, size=size, samples=SAMPLES, aligned=self.aligned)

    def classify_regions(self, maps: list[Tensor], boxes: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Compute class logits (R, K + 1) and box codes (R, K, 4) of regions (R, 4)."""
        return self.head(self.pool_regions(maps, boxes, image, POOLED_SIZE))

    def region_losses(
        self, outputs: dict[str, Any], objects: ObjectBatch, boxes: Tensor, matched: Tensor, taken: Tensor
    ) -> dict[str, Tensor]:
        """Compute mean losses over the sampled regions: cross-entropy, and smooth L1 of the boxes of positive ones."""
        logits, codes = self.classify_sampled(outputs, boxes, taken)
        entropy, labels = self.class_loss(logits, objects, matched, taken)
        positive = (labels >= 0).nonzero()[:, 0]
        targets = self.coder.encode(matched_boxes(objects, matched)[taken][positive], boxes[taken][positive])
        moved = smooth_l1(codes[positive, labels[positive]], targets, beta=BETA)
        return {"class": entropy, "box": moved.sum() / max(len(labels), 1)}

    def losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        """Compute the losses of sampled regions, and "loss", their sum."""
        parts = self.region_losses(outputs, objects, *self.sample_regions(outputs, objects))
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

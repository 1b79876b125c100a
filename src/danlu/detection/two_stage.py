"""The second stage of the R-CNN family: features of proposed regions -> what each shows and where its box really is.

Every region is brought to one size, and two dense layers say its class, or that it is background, and how its box must
be moved for each class (Girshick 2015). Who proposes the regions is left open: `propose`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.detection.box_losses import smooth_l1
from danlu.detection.boxes import clip, large_enough
from danlu.detection.coding import DeltaCoder
from danlu.detection.detector import Detector
from danlu.detection.matching import IGNORED, match_by_threshold, matched_boxes, matched_labels
from danlu.detection.neck import Neck
from danlu.detection.nms import batched_nms
from danlu.detection.norms import freeze_norms, set_norm
from danlu.detection.region_bags import pyramid_bags
from danlu.detection.regions import level_of, pyramid_align, roi_pool
from danlu.detection.sampling import sample
from danlu.models.backbone import Backbone
from danlu.objects import Detections, ObjectBatch

POOLED = 7  # cells of a region to each side
SAMPLES = 2  # points of RoIAlign in a cell, to each side
VARIANCES = (0.1, 0.1, 0.2, 0.2)
POSITIVE = 0.5  # IoU from which a region answers for an object
BETA = 1 / 9  # of the box losses: where the square turns straight
LEAST_SIDE = 0.01  # pixels of a detection


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


class TwoStage(Detector):
    """backbone, neck, `propose`, and the second stage.

    neck, width, extra: see `Neck`. hidden: units of the dense layers. norm: see `norms.set_norm`. regions: how many of
    a picture's proposals are drawn for the losses, positive_share: at most so many of them for objects. finest: regions
    of less than twice this side, in pixels, are cut from the first map, up to four times from the second, and so on.
    rounded: RoI pooling in place of RoIAlign, for one map.
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
        super().__init__()
        added = set_norm(backbone, norm)
        self.backbone, self.frozen = backbone, norm == "frozen"
        self.neck = Neck(backbone, neck, width=width, size=size, norm=added, extra=extra)
        self.pooled_levels = len(self.neck.strides) - extra
        self.head = RegionHead(self.neck.channels, classes, hidden)
        self.coder = DeltaCoder(VARIANCES)
        self.classes, self.finest, self.rounded = classes, finest, rounded
        self.regions, self.positive_share = regions, positive_share
        self.aligned = True  # False: half a cell off, as torchvision's detectors are

    def train(self, mode: bool = True) -> TwoStage:
        super().train(mode)
        if self.frozen:
            freeze_norms(self.backbone)
        return self

    def propose(self, pictures: Tensor, maps: list[Tensor]) -> dict[str, Any]:
        """At least "proposals", boxes (N, P, 4) in the picture without gradient, and "proposed", bool (N, P): False
        fills up the rows of pictures that have fewer."""
        raise NotImplementedError

    def outputs(self, pictures: Tensor) -> dict[str, Any]:
        """maps: what regions are cut from, float32. size: of the pictures. And all that `propose` gives."""
        maps = self.neck(self.backbone.features(pictures))
        proposed = self.propose(pictures, maps)
        # In half precision a box would be placed to a whole pixel or two: regions are cut in float32.
        pooled = [x.float() for x in maps[: self.pooled_levels]]
        return {"maps": pooled, "size": tuple(pictures.shape[-2:]), **proposed}

    def cut(self, maps: list[Tensor], boxes: Tensor, picture: Tensor, size: int) -> Tensor:
        """Regions (R, 4) of the pictures `picture` (R,) out of the maps: (R, C, size, size)."""
        if self.rounded:
            return roi_pool(maps[0], boxes, picture, size=size, stride=self.neck.strides[0])
        highest = len(maps) - 1
        level = level_of(boxes, lowest=0, highest=highest, canonical_size=self.finest, canonical_level=0)
        strides = self.neck.strides[: len(maps)]
        align = pyramid_bags if maps[0].device.type == "cpu" else pyramid_align
        return align(maps, strides, boxes, picture, level, size=size, samples=SAMPLES, aligned=self.aligned)

    def judge(self, maps: list[Tensor], boxes: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (R, K + 1) and box codes (R, K, 4) of regions (R, 4)."""
        return self.head(self.cut(maps, boxes, picture, POOLED))

    def generator(self, device: torch.device) -> torch.Generator | None:
        """Luck while training; in evaluation the same draw always, so that losses can be compared."""
        return None if self.training else torch.Generator(device).manual_seed(0)

    @torch.no_grad()
    def draw(self, outputs: dict[str, Any], objects: ObjectBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Regions for the losses: boxes (N, S, 4), matched and taken (N, S), those that answer for objects first.

        The objects' own boxes are among the proposals, so that the second stage learns before the first proposes well.
        """
        proposals = torch.cat([outputs["proposals"], objects.boxes], 1)
        real = torch.cat([outputs["proposed"], objects.valid], 1)
        matched = match_by_threshold(objects, proposals, high=POSITIVE, low=POSITIVE, best_per_object=False)
        matched = matched.masked_fill(~real, IGNORED)
        generator = self.generator(proposals.device)
        chosen, taken = sample(matched, count=self.regions, positive_share=self.positive_share, generator=generator)
        boxes = proposals.gather(1, chosen[..., None].expand(-1, -1, 4))
        return boxes, matched.gather(1, chosen), taken

    def region_losses(
        self, outputs: dict[str, Any], objects: ObjectBatch, boxes: Tensor, matched: Tensor, taken: Tensor
    ) -> dict[str, Tensor]:
        """Means over the regions drawn: cross-entropy of the class, and smooth L1 of the box of those that have one."""
        picture = taken.nonzero()[:, 0]
        logits, codes = self.judge(outputs["maps"], boxes[taken], picture)
        labels = matched_labels(objects, matched)[taken]
        wanted = labels.where(labels >= 0, self.classes)
        count = max(len(wanted), 1)
        positive = (labels >= 0).nonzero()[:, 0]
        targets = self.coder.encode(matched_boxes(objects, matched)[taken][positive], boxes[taken][positive])
        moved = smooth_l1(codes[positive, labels[positive]], targets, beta=BETA)
        return {"class": F.cross_entropy(logits, wanted, reduction="sum") / count, "box": moved.sum() / count}

    def losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        parts = self.region_losses(outputs, objects, *self.draw(outputs, objects))
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    @torch.no_grad()
    def detect(
        self, outputs: dict[str, Any], score: float = 0.05, overlap: float = 0.5, most: int = 100
    ) -> list[Detections]:
        """Every region is tried for every class, with the box of that class."""
        proposals, proposed = outputs["proposals"], outputs["proposed"]
        logits, codes = self.judge(outputs["maps"], proposals[proposed], proposed.nonzero()[:, 0])
        moved = clip(self.coder.decode(codes, proposals[proposed][:, None]), *outputs["size"])
        sure = logits.softmax(1)[:, : self.classes] * large_enough(moved, LEAST_SIDE)
        scores = sure.new_zeros(*proposed.shape, self.classes)
        boxes = moved.new_zeros(*proposed.shape, self.classes, 4)
        scores[proposed], boxes[proposed] = sure, moved
        labels = torch.arange(self.classes, device=scores.device).expand_as(scores).flatten(1)
        scores, boxes = scores.flatten(1), boxes.flatten(1, 2)
        chosen, taken = batched_nms(boxes, scores, labels, threshold=overlap, most=most, least_score=score)
        kept = [c[t] for c, t in zip(chosen, taken)]
        return [Detections(boxes[i, k], scores[i, k], labels[i, k]) for i, k in enumerate(kept)]

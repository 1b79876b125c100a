"""Faster R-CNN: a region proposal network on the backbone's feature maps (Ren et al. 2015).

At every cell it predicts an objectness and a box offset for each of a few anchors. Its proposals go to the second stage
of Fast R-CNN. With a feature pyramid each level has anchors of one size (Lin et al. 2017), without one the single map
has all sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.detection.anchors import anchors, shapes
from danlu.detection.box_losses import smooth_l1
from danlu.detection.boxes import clip, large_enough
from danlu.detection.coding import DeltaCoder
from danlu.detection.matching import match_by_threshold, matched_boxes
from danlu.detection.neck import Neck
from danlu.detection.nms import batched_nms
from danlu.detection.norms import set_norm
from danlu.detection.sampling import sample
from danlu.detection.two_stage import BETA, TwoStage
from danlu.models.backbone import Backbone
from danlu.objects import ObjectBatch

RATIOS = (2.0, 1.0, 0.5)  # width / height of the anchors
HIGH, LOW = 0.7, 0.3  # IoU from which an anchor is positive, and below which it is background
PROPOSAL_NMS_IOU = 0.7  # IoU threshold of non-maximum suppression among the proposals of a level
MIN_SIDE = 0.001  # of a proposal, in pixels
ROI_PER_ANCHOR = 1.75  # a level pools regions of 1.75 to 3.5 times the side of its anchors: 224 for 128 (Lin et al.)


class ProposalNetwork(nn.Module):
    """Feature maps of `channels` each -> objectness (N, A) and codes (N, A, 4) of all anchors, level by level.

    level_shapes: widths and heights of each level's anchors (k, 2), the same number in each.
    """

    def __init__(self, channels: int, strides: Sequence[int], level_shapes: Sequence[Tensor]) -> None:
        super().__init__()
        self.strides, self.level_shapes = strides, level_shapes
        self.offset = 0.5  # anchors at the centres of cells; 0: at their corners, as in torchvision
        count = len(level_shapes[0])
        self.see = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness, self.codes = nn.Conv2d(channels, count, 1), nn.Conv2d(channels, count * 4, 1)
        for layer in (self.see, self.objectness, self.codes):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return objectness (N, A) and codes (N, A, 4) of the anchors of all maps (N, C, H, W)."""
        seen = [self.see(x).relu() for x in maps]
        objectness = [self.objectness(x).permute(0, 2, 3, 1).flatten(1) for x in seen]
        codes = [self.codes(x).permute(0, 2, 3, 1).reshape(len(x), -1, 4) for x in seen]
        return torch.cat(objectness, 1).float(), torch.cat(codes, 1).float()

    def anchors(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Anchors (A_l, 4) of each level."""
        sizes = [(x.shape[-2], x.shape[-1]) for x in maps]
        levels = anchors(sizes, self.strides, self.level_shapes, offset=self.offset)
        return [level.to(maps[0].device) for level in levels]


class FasterRCNN(TwoStage):
    """Faster R-CNN on a backbone: all its maps from stride 4 on with neck "fpn", one of stride 8 or 16 with "none".

    width: channels of the pyramid. norm: see `norms.set_norm`. anchor: side of the smallest anchors in pixels, doubled
    at each level. proposals: max number of regions for the second stage. candidates: anchors per level, by objectness,
    that enter non-maximum suppression. sampled: anchors sampled per image for the losses. options: hidden, regions and
    positive_fraction of `TwoStage`. The published form for COCO: resnet50, width 256, hidden 1024, norm frozen,
    anchor 32, proposals and candidates 1000, regions 512, positive_fraction 0.25.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        size: int,
        *,
        neck: str = "fpn",
        width: int = 128,
        norm: str = "batch",
        anchor: float = 16.0,
        proposals: int = 100,
        candidates: int = 200,
        sampled: int = 256,
        **options: Any,
    ) -> None:
        maps = Neck(backbone, neck, width=width, size=size, norm=set_norm(backbone, norm), extra=1)
        super().__init__(backbone, maps, classes, finest=ROI_PER_ANCHOR * anchor, **options)
        levels = len(self.neck.strides)
        if levels > 1:
            sizes = [[anchor * stride / self.neck.strides[0]] for stride in self.neck.strides]
        else:
            sizes = [[anchor * 2**k for k in range(max(1, math.ceil(math.log2(size / anchor))))]]
        tables = [shapes(of_level, RATIOS, cross=True) for of_level in sizes]
        self.proposer = ProposalNetwork(self.neck.channels, self.neck.strides, tables)
        self.anchor_coder = DeltaCoder((1.0, 1.0, 1.0, 1.0))
        self.proposals, self.candidates, self.sampled = proposals, candidates, sampled

    def propose(self, images: Tensor, maps: list[Tensor], regions: Tensor | None = None) -> dict[str, Any]:
        """Proposals; also anchors (A, 4), and with gradient objectness (N, A) and codes (N, A, 4)."""
        objectness, codes = self.proposer(maps)
        levels = self.proposer.anchors(maps)
        proposals, proposed = self._select(objectness.detach(), codes.detach(), levels, images.shape[-2:])
        learnt = {"anchors": torch.cat(levels), "objectness": objectness, "codes": codes}
        return {"proposals": proposals, "proposed": proposed, **learnt}

    @torch.no_grad()
    def _select(
        self, objectness: Tensor, codes: Tensor, levels: list[Tensor], size: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Decode the top-scoring anchors of each level and apply non-maximum suppression per level."""
        boxes, scores, level = [], [], []
        parts = zip(*(x.split([len(a) for a in levels], 1) for x in (objectness, codes)))
        for number, (own, (score, code)) in enumerate(zip(levels, parts)):
            best, index = score.topk(min(self.candidates, len(own)), dim=1)
            boxes.append(self.anchor_coder.decode(code.gather(1, index[..., None].expand(-1, -1, 4)), own[index]))
            scores.append(best)
            level.append(torch.full_like(index, number))
        moved = clip(torch.cat(boxes, 1), *size)
        score = torch.cat(scores, 1).masked_fill(~large_enough(moved, MIN_SIDE), -torch.inf)
        chosen, taken = batched_nms(
            moved,
            score,
            torch.cat(level, 1),
            iou_threshold=PROPOSAL_NMS_IOU,
            max_detections=self.proposals,
            min_score=-torch.inf,
        )
        return moved.gather(1, chosen[..., None].expand(-1, -1, 4)), taken

    def losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        """Compute the losses of anchors and regions, and "loss", their sum."""
        parts = self.anchor_losses(outputs, objects)
        parts |= self.region_losses(outputs, objects, *self.sample_regions(outputs, objects))
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    def anchor_losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        """Mean losses over the sampled anchors: objectness, and smooth L1 of the box for the positive ones."""
        own = outputs["anchors"]
        with torch.no_grad():
            matched = match_by_threshold(objects, own, high=HIGH, low=LOW, best_per_object=True)
            generator = self.generator(own.device)
            chosen, taken = sample(matched, count=self.sampled, positive_fraction=0.5, generator=generator)
            answers = matched.gather(1, chosen)
            positive = taken & (answers >= 0)
            targets = self.anchor_coder.encode(matched_boxes(objects, answers), own[chosen])
        entropy = F.binary_cross_entropy_with_logits(
            outputs["objectness"].gather(1, chosen), positive.float(), reduction="none"
        )
        codes = outputs["codes"].gather(1, chosen[..., None].expand(-1, -1, 4))
        moved = smooth_l1(codes[positive], targets[positive], beta=BETA)
        count = taken.sum().clamp(min=1)
        return {"objectness": (entropy * taken).sum() / count, "proposal_box": moved.sum() / count}

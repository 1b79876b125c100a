"""What every detector of the R-CNN family shares: regions are proposed, and of each is said what it shows.

Who proposes them, and how a region is looked at, is left open: `outputs` and `judge`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.detection.boxes import clip, large_enough
from danlu.detection.coding import DeltaCoder
from danlu.detection.detector import Detector
from danlu.detection.matching import IGNORED, match_by_threshold, matched_labels
from danlu.detection.nms import batched_nms
from danlu.detection.sampling import sample
from danlu.objects import Detections, ObjectBatch

VARIANCES = (0.1, 0.1, 0.2, 0.2)
POSITIVE = 0.5  # IoU from which a region answers for an object
LEAST_SIDE = 0.01  # pixels of a detection
STEP = 64  # regions are judged in multiples of this: a processor makes a kernel for each number, and keeps it


class RegionDetector(Detector):
    """regions: how many of an image's proposals are drawn for the losses. positive_share: at most so many of them for
    objects.

    `outputs` gives at least "maps", what regions are cut from; "size", height and width of the images; "proposals",
    boxes (N, P, 4) in the image without gradient; and "proposed", bool (N, P): False fills up the rows of images
    that have fewer.
    """

    def __init__(self, classes: int, *, regions: int, positive_share: float) -> None:
        super().__init__()
        self.coder = DeltaCoder(VARIANCES)
        self.classes, self.regions, self.positive_share = classes, regions, positive_share

    def outputs(self, images: Tensor, regions: Tensor | None = None) -> dict[str, Any]:
        """regions: what `search` found, where that is known."""
        raise NotImplementedError

    def forward(self, images: Tensor, objects: ObjectBatch | None = None) -> dict[str, Any]:
        if objects is None or objects.regions is None:
            return super().forward(images, objects)
        return self.losses(self.outputs(images, objects.regions), objects)

    def found(self, images: Tensor, regions: Tensor | None) -> dict[str, Tensor]:
        """`search` as two of the outputs."""
        if regions is None:
            assert self.search is not None
            regions = self.search(images)
        return {"proposals": regions, "proposed": regions[..., 2] > regions[..., 0]}

    def judge(self, maps: list[Tensor], boxes: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (R, K + 1), background last, and box codes (R, K, 4) of regions (R, 4) of the images
        `image` (R,)."""
        raise NotImplementedError

    def rate(self, maps: list[Tensor], boxes: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Scores in [0, 1] (R, K), and box codes: as `judge`, but for what is found."""
        logits, codes = self.judge(maps, boxes, image)
        return logits.softmax(1)[:, : self.classes], codes

    def generator(self, device: torch.device) -> torch.Generator | None:
        """Luck while training; in evaluation the same draw always, so that losses can be compared."""
        return None if self.training else torch.Generator(device).manual_seed(0)

    @torch.no_grad()
    def draw(self, outputs: dict[str, Any], objects: ObjectBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Regions for the losses: boxes (N, S, 4), matched and taken (N, S), those that answer for objects first.

        The objects' own boxes are among the proposals, so that something is learnt before they are proposed well.
        """
        proposals = torch.cat([outputs["proposals"], objects.boxes], 1)
        real = torch.cat([outputs["proposed"], objects.valid], 1)
        matched = match_by_threshold(objects, proposals, high=POSITIVE, low=POSITIVE, best_per_object=False)
        matched = matched.masked_fill(~real, IGNORED)
        generator = self.generator(proposals.device)
        chosen, taken = sample(matched, count=self.regions, positive_share=self.positive_share, generator=generator)
        boxes = proposals.gather(1, chosen[..., None].expand(-1, -1, 4))
        return boxes, matched.gather(1, chosen), taken

    def judge_drawn(self, outputs: dict[str, Any], boxes: Tensor, taken: Tensor) -> tuple[Tensor, Tensor]:
        """`judge` the regions taken (N, S) of boxes (N, S, 4).

        The first ones again fill up to a multiple of `STEP`: batch norms count these twice, the losses do not.
        """
        count = int(taken.sum())
        rows = torch.arange(count + -count % STEP, device=boxes.device) % max(count, 1)
        logits, codes = self.judge(outputs["maps"], boxes[taken][rows], taken.nonzero()[:, 0][rows])
        return logits[:count], codes[:count]

    def class_loss(self, logits: Tensor, objects: ObjectBatch, matched: Tensor, taken: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy of the regions drawn, and the class of each (R,), negative for background."""
        labels = matched_labels(objects, matched)[taken]
        wanted = labels.where(labels >= 0, self.classes)
        return F.cross_entropy(logits, wanted, reduction="sum") / max(len(wanted), 1), labels

    @torch.no_grad()
    def detect(
        self, outputs: dict[str, Any], score: float = 0.05, overlap: float = 0.5, most: int = 100
    ) -> list[Detections]:
        """Every region is tried for every class, with the box of that class."""
        proposals, proposed = outputs["proposals"], outputs["proposed"]
        rated, codes = self.rate(outputs["maps"], proposals[proposed], proposed.nonzero()[:, 0])
        moved = clip(self.coder.decode(codes, proposals[proposed][:, None]), *outputs["size"])
        sure = rated * large_enough(moved, LEAST_SIDE)
        scores = sure.new_zeros(*proposed.shape, self.classes)
        boxes = moved.new_zeros(*proposed.shape, self.classes, 4)
        scores[proposed], boxes[proposed] = sure, moved
        labels = torch.arange(self.classes, device=scores.device).expand_as(scores).flatten(1)
        scores, boxes = scores.flatten(1), boxes.flatten(1, 2)
        chosen, taken = batched_nms(boxes, scores, labels, threshold=overlap, most=most, least_score=score)
        kept = [c[t] for c, t in zip(chosen, taken)]
        return [Detections(boxes[i, k], scores[i, k], labels[i, k]) for i, k in enumerate(kept)]

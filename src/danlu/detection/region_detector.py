"""Base class of the R-CNN family: sample proposed regions for the losses, classify them, and detect.

Subclasses define the proposals (`outputs`) and the classifier of regions (`classify_regions`).
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
POSITIVE = 0.5  # min IoU of a positive region with its object
MIN_SIDE = 0.01  # of a detection, in pixels
REGION_MULTIPLE = 64  # the number of regions is padded to a multiple: a CPU compiles and caches a kernel per number


class RegionDetector(Detector):
    """Base of detectors that classify proposed regions.

    regions: proposals sampled per image for the losses. positive_fraction: max fraction of positives among them.

    `outputs` returns at least "maps", from which regions are cropped; "size", height and width of the images;
    "proposals", boxes (N, P, 4) in pixels without gradient; and "proposed", bool (N, P): False is padding.
    """

    def __init__(self, classes: int, *, regions: int, positive_fraction: float) -> None:
        super().__init__()
        self.coder = DeltaCoder(VARIANCES)
        self.classes, self.regions, self.positive_fraction = classes, regions, positive_fraction

    def outputs(self, images: Tensor, regions: Tensor | None = None) -> dict[str, Any]:
        """Run the network. regions: result of `search`, if already computed."""
        raise NotImplementedError

    def forward(self, images: Tensor, objects: ObjectBatch | None = None) -> dict[str, Any]:
        """Return losses when objects are given, else raw outputs; regions given with the objects are used."""
        if objects is None or objects.regions is None:
            return super().forward(images, objects)
        return self.losses(self.outputs(images, objects.regions), objects)

    def searched(self, images: Tensor, regions: Tensor | None) -> dict[str, Tensor]:
        """Return the region proposals of `search` as the outputs "proposals" and "proposed"."""
        if regions is None:
            assert self.search is not None
            regions = self.search(images)
        return {"proposals": regions, "proposed": regions[..., 2] > regions[..., 0]}

    def classify_regions(self, maps: list[Tensor], boxes: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Compute class logits (R, K + 1), background last, and box codes (R, K, 4) of regions (R, 4).

        image: int64 (R,), the image of each region.
        """
        raise NotImplementedError

    def score_regions(self, maps: list[Tensor], boxes: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Compute scores in [0, 1] (R, K) and box codes (R, K, 4); arguments as of `classify_regions`."""
        logits, codes = self.classify_regions(maps, boxes, image)
        return logits.softmax(1)[:, : self.classes], codes

    def generator(self, device: torch.device) -> torch.Generator | None:
        """Return None in training, and in evaluation a generator with a fixed seed, so that losses are comparable."""
        return None if self.training else torch.Generator(device).manual_seed(0)

    @torch.no_grad()
    def sample_regions(self, outputs: dict[str, Any], objects: ObjectBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Sample regions for the losses: boxes (N, S, 4), matched and taken (N, S), positives first.

        The objects' own boxes are added to the proposals, so that there are positives before proposals are good.
        """
        proposals = torch.cat([outputs["proposals"], objects.boxes], 1)
        real = torch.cat([outputs["proposed"], objects.valid], 1)
        matched = match_by_threshold(objects, proposals, high=POSITIVE, low=POSITIVE, best_per_object=False)
        matched = matched.masked_fill(~real, IGNORED)
        generator = self.generator(proposals.device)
        chosen, taken = sample(
            matched, count=self.regions, positive_fraction=self.positive_fraction, generator=generator
        )
        boxes = proposals.gather(1, chosen[..., None].expand(-1, -1, 4))
        return boxes, matched.gather(1, chosen), taken

    def classify_sampled(self, outputs: dict[str, Any], boxes: Tensor, taken: Tensor) -> tuple[Tensor, Tensor]:
        """Apply `classify_regions` to the regions selected by taken (N, S) among boxes (N, S, 4).

        The first ones are repeated to reach a multiple of `REGION_MULTIPLE`: batch norms count these
        twice, the losses do not.
        """
        count = int(taken.sum())
        rows = torch.arange(count + -count % REGION_MULTIPLE, device=boxes.device) % max(count, 1)
        logits, codes = self.classify_regions(outputs["maps"], boxes[taken][rows], taken.nonzero()[:, 0][rows])
        return logits[:count], codes[:count]

    def class_loss(self, logits: Tensor, objects: ObjectBatch, matched: Tensor, taken: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy of the sampled regions, and the class of each (R,), negative for background."""
        labels = matched_labels(objects, matched)[taken]
        wanted = labels.where(labels >= 0, self.classes)
        return F.cross_entropy(logits, wanted, reduction="sum") / max(len(wanted), 1), labels

    @torch.no_grad()
    def detect(
        self, outputs: dict[str, Any], min_score: float = 0.05, nms_iou: float = 0.5, max_detections: int = 100
    ) -> list[Detections]:
        """Score every region for every class, with the box of that class; see `Detector.detect`."""
        proposals, proposed = outputs["proposals"], outputs["proposed"]
        region_scores, codes = self.score_regions(outputs["maps"], proposals[proposed], proposed.nonzero()[:, 0])
        moved = clip(self.coder.decode(codes, proposals[proposed][:, None]), *outputs["size"])
        region_scores = region_scores * large_enough(moved, MIN_SIDE)
        scores = region_scores.new_zeros(*proposed.shape, self.classes)
        boxes = moved.new_zeros(*proposed.shape, self.classes, 4)
        scores[proposed], boxes[proposed] = region_scores, moved
        labels = torch.arange(self.classes, device=scores.device).expand_as(scores).flatten(1)
        scores, boxes = scores.flatten(1), boxes.flatten(1, 2)
        chosen, taken = batched_nms(
            boxes, scores, labels, iou_threshold=nms_iou, max_detections=max_detections, min_score=min_score
        )
        kept = [c[t] for c, t in zip(chosen, taken)]
        return [Detections(boxes[i, k], scores[i, k], labels[i, k]) for i, k in enumerate(kept)]

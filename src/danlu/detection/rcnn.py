"""R-CNN: every proposed region is cut out of the image, warped to one size and looked at by a network of its own
(Girshick et al. 2014).

The network learns to tell regions by a softmax. When it has learnt, its answers are thrown away: its features go to one
linear support vector machine per class, which learns from the background it finds hardest, and its last map to a ridge
regression per class, which moves the box. Both have one best solution, so they are fitted once, to
the weights that a training leaves (`settle`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from danlu.detection.box_ridge import BoxRidge
from danlu.detection.boxes import iou_matrix
from danlu.detection.matching import BACKGROUND, match_by_threshold, matched_boxes, matched_labels
from danlu.detection.neck import cut
from danlu.detection.norms import set_norm
from danlu.detection.proposals import Proposer
from danlu.detection.region_detector import RegionDetector
from danlu.detection.regions import warp
from danlu.detection.support_vectors import LENGTH, MinedMachine
from danlu.models.backbone import Backbone
from danlu.objects import ObjectBatch

LEAST_CELLS, MOST_CELLS = 4, 6  # of the last map to a side; the paper's pool5 has 6
NEGATIVE = 0.3  # IoU with every object of a class below which a region is background to it
MOVABLE = 0.6  # IoU from which a region can tell where its object is
STEEPNESS = 2.0  # of the curve from margin to score: on the borders of the margin 0.12 and 0.88
TOGETHER = 512  # regions that the network looks at in one go


class RCNN(RegionDetector):
    """backbone: run on every region. crop: side of the warped regions, context: share of it to each side that shows
    what is around. hidden: units of the dense layer whose answers are the features. norm: see `norms.set_norm`. search:
    see `Proposer`. proposals: regions looked at in an image. regions: of these drawn for the losses, at most
    positive_share of them for objects. The published form: alexnet, crop 227, hidden 4096, proposals 2000.
    """

    settles = True
    settled: Tensor
    machine_weight: Tensor
    machine_bias: Tensor
    box_weight: Tensor
    box_bias: Tensor

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        size: int,
        *,
        crop: int = 64,
        context: float = 16 / 224,
        hidden: int = 256,
        norm: str = "batch",
        search: str = "auto",
        proposals: int = 300,
        regions: int = 32,
        positive_share: float = 0.25,
    ) -> None:
        super().__init__(classes, regions=regions, positive_share=positive_share)
        set_norm(backbone, norm)
        self.crop, self.context = crop, context
        cut(backbone, _stage(backbone, crop))
        self.backbone = backbone
        cells = min(MOST_CELLS, crop // backbone.feature_strides[-1])
        self.pool = nn.AdaptiveMaxPool2d(cells)
        wide = backbone.feature_channels[-1] * cells**2
        self.dense, self.logits = nn.Linear(wide, hidden), nn.Linear(hidden, classes + 1)
        nn.init.kaiming_normal_(self.dense.weight, nonlinearity="relu")
        nn.init.normal_(self.logits.weight, std=0.01)
        for layer in (self.dense, self.logits):
            nn.init.zeros_(layer.bias)
        # What `settle` fits; until then the softmax answers.
        self.register_buffer("settled", torch.zeros((), dtype=torch.bool))
        self.register_buffer("machine_weight", torch.zeros(classes, hidden))
        self.register_buffer("machine_bias", torch.zeros(classes))
        self.register_buffer("box_weight", torch.zeros(classes, 4, wide))
        self.register_buffer("box_bias", torch.zeros(classes, 4))
        self.search = Proposer(search, proposals)

    def outputs(self, images: Tensor, regions: Tensor | None = None) -> dict[str, Any]:
        """Regions are cut out of the images themselves."""
        maps = [images.float()]
        return {"maps": maps, "size": tuple(images.shape[-2:]), **self.found(images, regions)}

    def look(self, maps: list[Tensor], boxes: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """The last map of each region, flat (R, W), and the features (R, hidden)."""
        crops = warp(maps[0], boxes, image, size=self.crop, context=self.context)
        cells = self.pool(self.backbone.features(crops)[-1]).flatten(1)
        return cells, self.dense(cells).relu()

    def judge(self, maps: list[Tensor], boxes: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """By the softmax; boxes stay where they are."""
        logits = self.logits(self.look(maps, boxes, image)[1]).float()
        return logits, logits.new_zeros(len(logits), self.classes, 4)

    @torch.no_grad()
    def rate(self, maps: list[Tensor], boxes: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        one = self._rate_settled if self.settled else super().rate
        parts = [one(maps, *some) for some in zip(boxes.split(TOGETHER), image.split(TOGETHER))]
        scores, codes = zip(*parts)
        return torch.cat(scores), torch.cat(codes)

    def _rate_settled(self, maps: list[Tensor], boxes: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        cells, features = (x.float() for x in self.look(maps, boxes, image))
        with torch.autocast(boxes.device.type, enabled=False):
            margins = features @ self.machine_weight.T + self.machine_bias
            codes = torch.einsum("rw,kcw->rkc", cells, self.box_weight) + self.box_bias
        return (STEEPNESS * margins).sigmoid(), codes

    def losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        if self.training:  # the features change: what was fitted to them holds no longer
            self.settled.fill_(False)
        boxes, matched, taken = self.draw(outputs, objects)
        logits, _ = self.judge_drawn(outputs, boxes, taken)
        loss, _ = self.class_loss(logits, objects, matched, taken)
        return {"loss": loss}

    @torch.no_grad()
    def settle(self, batches: Callable[[], Iterable[tuple[Tensor, ObjectBatch]]]) -> None:
        """Fits the machines and the ridge regressions to the features as they are. Passes over the batches twice."""
        training = self.training
        self.eval()
        positives, ridges = self._see_objects(batches())
        self._set_ridges(ridges)
        scale = LENGTH / _length(np.concatenate(positives))
        machines = [MinedMachine(own * scale) for own in positives]
        for images, objects in batches():
            features, negative = self._negatives(images, objects)
            for k, machine in enumerate(machines):
                machine.see(features[negative[:, k]] * scale)
        for machine in machines:
            machine.train()
        self.machine_weight.copy_(torch.from_numpy(np.stack([m.weight for m in machines]) * scale))
        self.machine_bias.copy_(torch.tensor([m.bias for m in machines]))
        self.settled.fill_(True)
        self.train(training)

    def _see_objects(self, batches: Iterable[tuple[Tensor, ObjectBatch]]) -> tuple[list[np.ndarray], list[BoxRidge]]:
        """Features of all objects, class by class, and ridges that have seen the regions around them."""
        features, labels = [], []
        ridges = [BoxRidge(self.box_weight.shape[2]) for _ in range(self.classes)]
        for images, objects in batches:
            outputs, real = self.outputs(images), objects.valid
            features.append(self._looked(outputs, objects.boxes, real)[1])
            labels.append(objects.labels[real].cpu().numpy())
            boxes = outputs["proposals"]
            matched = match_by_threshold(objects, boxes, high=MOVABLE, low=MOVABLE, best_per_object=False)
            near = (matched >= 0) & outputs["proposed"]
            cells, _ = self._looked(outputs, boxes, near)
            codes = self.coder.encode(matched_boxes(objects, matched)[near], boxes[near]).cpu().numpy()
            classes = matched_labels(objects, matched)[near].cpu().numpy()
            for k, ridge in enumerate(ridges):
                ridge.see(cells[classes == k], codes[classes == k])
        whole, classes = np.concatenate(features), np.concatenate(labels)
        return [whole[classes == k] for k in range(self.classes)], ridges

    def _negatives(self, images: Tensor, objects: ObjectBatch) -> tuple[np.ndarray, np.ndarray]:
        """Features (R, hidden) of the regions of a batch, and for which classes each is background, bool (R, K).

        Objects of other classes are background, too.
        """
        outputs = self.outputs(images)
        boxes = torch.cat([outputs["proposals"], objects.boxes], 1)
        real = torch.cat([outputs["proposed"], objects.valid], 1)
        real &= match_by_threshold(objects, boxes, high=NEGATIVE, low=NEGATIVE, best_per_object=False) >= BACKGROUND
        overlaps = iou_matrix(objects.boxes, boxes)
        nearest = [(overlaps * ((objects.labels == k) & objects.valid)[..., None]).amax(1) for k in range(self.classes)]
        negative = (torch.stack(nearest, -1) < NEGATIVE)[real]
        return self._looked(outputs, boxes, real)[1], negative.cpu().numpy()

    @torch.no_grad()
    def _looked(self, outputs: dict[str, Any], boxes: Tensor, taken: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """`look` at the regions taken (N, P) of boxes (N, P, 4), a part at a time."""
        image = taken.nonzero()[:, 0]
        some = zip(boxes[taken].split(TOGETHER), image.split(TOGETHER))
        parts = [self.look(outputs["maps"], *one) for one in some]
        cells, features = (torch.cat(column).float().cpu().numpy() for column in zip(*parts))
        return cells, features

    def _set_ridges(self, ridges: list[BoxRidge]) -> None:
        for k, ridge in enumerate(ridges):
            ridge.train()
            self.box_weight[k] = torch.from_numpy(ridge.weight)
            self.box_bias[k] = torch.from_numpy(ridge.bias)


def _stage(backbone: Backbone, crop: int) -> int:
    """The last stage whose map of a region has enough cells to tell where in it something is."""
    enough = [i for i, stride in enumerate(backbone.feature_strides) if crop // stride >= LEAST_CELLS]
    return enough[-1] if enough else 0


def _length(features: np.ndarray) -> float:
    """Mean length of the rows."""
    return max(float(np.linalg.norm(features, axis=1).mean()), 1e-6) if len(features) else 1.0

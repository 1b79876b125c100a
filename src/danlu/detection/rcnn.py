"""R-CNN: crop every proposed region from the image, warp it to one size and run a network on it (Girshick et al. 2014).

The network is trained as a softmax classifier of regions. After training the softmax is replaced: its features feed one
linear support vector machine per class, trained with hard negative mining, and its last map feeds one ridge regression
of the box per class. Both are convex problems, fitted once on the final weights (`fit_closed_form`).
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
from danlu.detection.neck import remove_later_stages
from danlu.detection.norms import set_norm
from danlu.detection.proposals import Proposer
from danlu.detection.region_detector import RegionDetector
from danlu.detection.regions import warp
from danlu.detection.support_vectors import LENGTH, MinedMachine
from danlu.models.backbone import Backbone
from danlu.objects import ObjectBatch

MIN_CELLS, MAX_CELLS = 4, 6  # per side of the last map; the paper's pool5 has 6
NEGATIVE = 0.3  # a region with a lower IoU to all objects of a class is a negative of its machine
MIN_REGRESSION_IOU = 0.6  # of a region and its object, to train the box regression
STEEPNESS = 2.0  # of the sigmoid from SVM margin to score: 0.12 and 0.88 at margins -1 and 1
REGION_BATCH = 512  # regions per forward pass of the network


class RCNN(RegionDetector):
    """R-CNN with a backbone that runs on every region.

    crop: side of the warped regions in pixels. context: margin around the box on each side, as a fraction of crop.
    hidden: units of the dense layer that computes the features. norm: see `norms.set_norm`. search: see `Proposer`.
    proposals: max number per image. regions: proposals sampled per image for the losses, at most a fraction
    positive_fraction of them positive. The published form: alexnet, crop 227, hidden 4096, proposals 2000.
    """

    has_closed_form = True
    settled: Tensor  # bool (): the closed-form parts are fitted; the name is that in weights files
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
        positive_fraction: float = 0.25,
    ) -> None:
        super().__init__(classes, regions=regions, positive_fraction=positive_fraction)
        set_norm(backbone, norm)
        self.crop, self.context = crop, context
        remove_later_stages(backbone, _stage(backbone, crop))
        self.backbone = backbone
        cells = min(MAX_CELLS, crop // backbone.feature_strides[-1])
        self.pool = nn.AdaptiveMaxPool2d(cells)
        wide = backbone.feature_channels[-1] * cells**2
        self.dense, self.logits = nn.Linear(wide, hidden), nn.Linear(hidden, classes + 1)
        nn.init.kaiming_normal_(self.dense.weight, nonlinearity="relu")
        nn.init.normal_(self.logits.weight, std=0.01)
        for layer in (self.dense, self.logits):
            nn.init.zeros_(layer.bias)
        # Fitted by `fit_closed_form`; until then the softmax is used.
        self.register_buffer("settled", torch.zeros((), dtype=torch.bool))
        self.register_buffer("machine_weight", torch.zeros(classes, hidden))
        self.register_buffer("machine_bias", torch.zeros(classes))
        self.register_buffer("box_weight", torch.zeros(classes, 4, wide))
        self.register_buffer("box_bias", torch.zeros(classes, 4))
        self.search = Proposer(search, proposals)

    def outputs(self, images: Tensor, regions: Tensor | None = None) -> dict[str, Any]:
        """Return the proposals, and the images themselves as the map from which regions are cropped."""
        maps = [images.float()]
        return {"maps": maps, "size": tuple(images.shape[-2:]), **self.searched(images, regions)}

    def region_features(self, maps: list[Tensor], boxes: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network on regions; returns the flattened last map (R, W) and the features (R, hidden)."""
        crops = warp(maps[0], boxes, image, size=self.crop, context=self.context)
        cells = self.pool(self.backbone.features(crops)[-1]).flatten(1)
        return cells, self.dense(cells).relu()

    def classify_regions(self, maps: list[Tensor], boxes: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the class logits of the softmax; box codes are zero."""
        logits = self.logits(self.region_features(maps, boxes, image)[1]).float()
        return logits, logits.new_zeros(len(logits), self.classes, 4)

    @torch.no_grad()
    def score_regions(self, maps: list[Tensor], boxes: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Score regions (R, 4) of images `image` (R,), by the fitted SVMs once they are valid."""
        one = self._score_fitted if self.settled else super().score_regions
        parts = [one(maps, *some) for some in zip(boxes.split(REGION_BATCH), image.split(REGION_BATCH))]
        scores, codes = zip(*parts)
        return torch.cat(scores), torch.cat(codes)

    def _score_fitted(self, maps: list[Tensor], boxes: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        cells, features = (x.float() for x in self.region_features(maps, boxes, image))
        with torch.autocast(boxes.device.type, enabled=False):
            margins = features @ self.machine_weight.T + self.machine_bias
            codes = torch.einsum("rw,kcw->rkc", cells, self.box_weight) + self.box_bias
        return (STEEPNESS * margins).sigmoid(), codes

    def losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        """Compute the losses of sampled regions; in training, mark the fitted parameters as no longer valid."""
        if self.training:  # the features change, so the fitted parameters are no longer valid
            self.settled.fill_(False)
        boxes, matched, taken = self.sample_regions(outputs, objects)
        logits, _ = self.classify_sampled(outputs, boxes, taken)
        loss, _ = self.class_loss(logits, objects, matched, taken)
        return {"loss": loss}

    @torch.no_grad()
    def fit_closed_form(self, batches: Callable[[], Iterable[tuple[Tensor, ObjectBatch]]]) -> None:
        """Fit the support vector machines and ridge regressions on the current features, in two passes."""
        training = self.training
        self.eval()
        positives, ridges = self._positives(batches())
        self._set_ridges(ridges)
        scale = LENGTH / _length(np.concatenate(positives))
        machines = [MinedMachine(own * scale) for own in positives]
        for images, objects in batches():
            features, negative = self._negatives(images, objects)
            for k, machine in enumerate(machines):
                machine.add(features[negative[:, k]] * scale)
        for machine in machines:
            machine.fit()
        self.machine_weight.copy_(torch.from_numpy(np.stack([m.weight for m in machines]) * scale))
        self.machine_bias.copy_(torch.tensor([m.bias for m in machines]))
        self.settled.fill_(True)
        self.train(training)

    def _positives(self, batches: Iterable[tuple[Tensor, ObjectBatch]]) -> tuple[list[np.ndarray], list[BoxRidge]]:
        """Compute the features of all objects by class, and ridge regressions with the regions near the objects."""
        features, labels = [], []
        ridges = [BoxRidge(self.box_weight.shape[2]) for _ in range(self.classes)]
        for images, objects in batches:
            outputs, real = self.outputs(images), objects.valid
            features.append(self._features_of(outputs, objects.boxes, real)[1])
            labels.append(objects.labels[real].cpu().numpy())
            boxes = outputs["proposals"]
            min_iou = MIN_REGRESSION_IOU
            matched = match_by_threshold(objects, boxes, high=min_iou, low=min_iou, best_per_object=False)
            near = (matched >= 0) & outputs["proposed"]
            cells, _ = self._features_of(outputs, boxes, near)
            codes = self.coder.encode(matched_boxes(objects, matched)[near], boxes[near]).cpu().numpy()
            classes = matched_labels(objects, matched)[near].cpu().numpy()
            for k, ridge in enumerate(ridges):
                ridge.add(cells[classes == k], codes[classes == k])
        whole, classes = np.concatenate(features), np.concatenate(labels)
        return [whole[classes == k] for k in range(self.classes)], ridges

    def _negatives(self, images: Tensor, objects: ObjectBatch) -> tuple[np.ndarray, np.ndarray]:
        """Compute features (R, hidden) of the regions of a batch, and whether each is a negative of a class (R, K).

        Objects of other classes are negatives, too.
        """
        outputs = self.outputs(images)
        boxes = torch.cat([outputs["proposals"], objects.boxes], 1)
        real = torch.cat([outputs["proposed"], objects.valid], 1)
        real &= match_by_threshold(objects, boxes, high=NEGATIVE, low=NEGATIVE, best_per_object=False) >= BACKGROUND
        overlaps = iou_matrix(objects.boxes, boxes)
        nearest = [(overlaps * ((objects.labels == k) & objects.valid)[..., None]).amax(1) for k in range(self.classes)]
        negative = (torch.stack(nearest, -1) < NEGATIVE)[real]
        return self._features_of(outputs, boxes, real)[1], negative.cpu().numpy()

    @torch.no_grad()
    def _features_of(self, outputs: dict[str, Any], boxes: Tensor, taken: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Apply `region_features` to the regions selected by taken (N, P) among boxes (N, P, 4), in batches."""
        image = taken.nonzero()[:, 0]
        some = zip(boxes[taken].split(REGION_BATCH), image.split(REGION_BATCH))
        parts = [self.region_features(outputs["maps"], *one) for one in some]
        cells, features = (torch.cat(column).float().cpu().numpy() for column in zip(*parts))
        return cells, features

    def _set_ridges(self, ridges: list[BoxRidge]) -> None:
        for k, ridge in enumerate(ridges):
            ridge.fit()
            self.box_weight[k] = torch.from_numpy(ridge.weight)
            self.box_bias[k] = torch.from_numpy(ridge.bias)


def _stage(backbone: Backbone, crop: int) -> int:
    """Return the last stage whose map of a region has at least MIN_CELLS per side, for box regression."""
    enough = [i for i, stride in enumerate(backbone.feature_strides) if crop // stride >= MIN_CELLS]
    return enough[-1] if enough else 0


def _length(features: np.ndarray) -> float:
    """Compute the mean norm of the rows."""
    return max(float(np.linalg.norm(features, axis=1).mean()), 1e-6) if len(features) else 1.0

"""Mask R-CNN: Faster R-CNN with a mask head on every detected region (He et al. 2017).

Regions are pooled without rounding (RoIAlign), since an offset of half a cell would shift the mask. The head predicts a
mask per class with a sigmoid, so classes do not compete; loss and detection use the mask of the object's class.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.detection.faster_rcnn import FasterRCNN
from danlu.detection.regions import crop_masks, paste_masks
from danlu.message import message
from danlu.models.backbone import Backbone
from danlu.objects import Detections, ObjectBatch
from danlu.refuse import Failure

POOLED_SIZE = 14  # cells per side of a pooled region; the mask has twice as many
MASK_THRESHOLD = 0.5  # min probability of a pixel in the mask


class MaskHead(nn.Sequential):
    """Pooled regions (R, C, 14, 14) -> mask logits (R, K, 28, 28): 3x3 convolutions, a transposed one, a 1x1."""

    def __init__(self, channels: int, classes: int, width: int, layers: int) -> None:
        inputs = [channels, *[width] * layers]
        see = [x for c in inputs[:-1] for x in (nn.Conv2d(c, width, 3, padding=1), nn.ReLU(inplace=True))]
        double = nn.ConvTranspose2d(inputs[-1], width, 2, stride=2)
        super().__init__(*see, double, nn.ReLU(inplace=True), nn.Conv2d(width, classes, 1))
        for layer in self:
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


class MaskRCNN(FasterRCNN):
    """Mask R-CNN.

    mask_width, mask_layers: channels and number of convolutions of the mask head (256 and 4 in the paper). options:
    see `FasterRCNN`.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        size: int,
        *,
        mask_width: int = 64,
        mask_layers: int = 2,
        **options: Any,
    ) -> None:
        super().__init__(backbone, classes, size, **options)
        self.mask_head = MaskHead(self.neck.channels, classes, mask_width, mask_layers)

    def mask_logits(self, maps: list[Tensor], boxes: Tensor, image: Tensor, labels: Tensor) -> Tensor:
        """Mask logits (R, 28, 28) of each region for its class, labels (R,)."""
        logits = self.mask_head(self.pool_regions(maps, boxes, image, POOLED_SIZE)).float()
        return logits[torch.arange(len(labels), device=labels.device), labels]

    def losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        """Compute the losses of anchors, regions and masks, and "loss", their sum."""
        sampled = self.sample_regions(outputs, objects)
        parts = self.anchor_losses(outputs, objects) | self.region_losses(outputs, objects, *sampled)
        parts["mask"] = self.mask_loss(outputs, objects, *sampled)
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    def mask_loss(
        self, outputs: dict[str, Any], objects: ObjectBatch, boxes: Tensor, matched: Tensor, taken: Tensor
    ) -> Tensor:
        """Mean binary cross-entropy over the mask cells of positive regions; 0 without any."""
        image, slot = (taken & (matched >= 0)).nonzero(as_tuple=True)
        own, index = boxes[image, slot], matched[image, slot]
        logits = self.mask_logits(outputs["maps"], own, image, objects.labels[image, index])
        if objects.masks is None:
            if len(image):
                raise Failure(
                    message(
                        "detection.refuse.mask_cnn_trained_masks",
                        "Mask R-CNN is trained on masks, but these objects have none: use --task segment",
                    )
                )
            return logits.sum()
        targets = crop_masks(objects.masks, own, image, index, size=logits.shape[-1])
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / max(targets.numel(), 1)

    @torch.no_grad()
    def detect(
        self, outputs: dict[str, Any], min_score: float = 0.05, nms_iou: float = 0.5, max_detections: int = 100
    ) -> list[Detections]:
        """Detect as Faster R-CNN, then predict a mask in each detected box; see `Detector.detect`."""
        found = super().detect(outputs, min_score, nms_iou, max_detections)
        counts = [len(one) for one in found]
        boxes, labels = torch.cat([one.boxes for one in found]), torch.cat([one.labels for one in found])
        image = torch.cat([one.labels.new_full((count,), i) for i, (one, count) in enumerate(zip(found, counts))])
        likely = self.mask_logits(outputs["maps"], boxes, image, labels).sigmoid()
        for one, masks in zip(found, likely.split(counts)):
            one.masks = (paste_masks(masks, one.boxes, *outputs["size"]) >= MASK_THRESHOLD).to(torch.uint8)
        return found

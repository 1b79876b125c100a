"""torchvision's detectors behind the `Detector` interface: torchvision/fasterrcnn_resnet50_fpn and so on.

They take lists of images and dicts, return losses in train mode only and detections in eval mode only, and have no
ignored regions: objects to ignore are not passed to them, so their regions count as background.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from danlu.detection.detector import Detector
from danlu.message import message
from danlu.objects import PADDING, Detections, ObjectBatch
from danlu.refuse import one_of


@dataclass(frozen=True)
class LibrarySpec:
    """Facts about one detector of torchvision.

    background: class 0 is background. masks: predicts masks too. two_stages: proposes regions, then classifies them.
    resizes: resizes every image to a size of its own.
    """

    background: bool = True
    masks: bool = False
    two_stages: bool = False
    resizes: bool = False


LIBRARY_DETECTORS = {
    "fasterrcnn_resnet50_fpn": LibrarySpec(two_stages=True),
    "fasterrcnn_resnet50_fpn_v2": LibrarySpec(two_stages=True),
    "fasterrcnn_mobilenet_v3_large_fpn": LibrarySpec(two_stages=True),
    "fasterrcnn_mobilenet_v3_large_320_fpn": LibrarySpec(two_stages=True),
    "maskrcnn_resnet50_fpn": LibrarySpec(masks=True, two_stages=True),
    "maskrcnn_resnet50_fpn_v2": LibrarySpec(masks=True, two_stages=True),
    "ssd300_vgg16": LibrarySpec(resizes=True),
    "ssdlite320_mobilenet_v3_large": LibrarySpec(resizes=True),
    "retinanet_resnet50_fpn": LibrarySpec(background=False),
    "retinanet_resnet50_fpn_v2": LibrarySpec(background=False),
    "fcos_resnet50_fpn": LibrarySpec(background=False),
}
# torchvision's losses -> danlu's names. FCOS has a centre-ness where others have an objectness.
LOSSES = {
    "classification": "class",
    "loss_classifier": "class",
    "bbox_regression": "box",
    "loss_box_reg": "box",
    "loss_objectness": "objectness",
    "bbox_ctrness": "objectness",
    "loss_rpn_box_reg": "proposal_box",
    "loss_mask": "mask",
}
# Modules whose training flag selects losses or detections. The others, such as batch norm, keep the detector's mode.
MODAL = ("", "transform", "rpn", "roi_heads")


class PrecomputedMaps(nn.Module):
    """Replaces the backbone of a torchvision detector; returns maps computed before."""

    maps: Any = None

    def forward(self, x: Tensor) -> Any:
        """Return the maps; `x` is not used."""
        return self.maps


class LastMap(nn.Module):
    """A torchvision backbone that returns its last map only, like danlu's backbones without their head."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, x: Tensor) -> Tensor:
        """Return the last map (N, C, H, W) of images (N, 3, S, S)."""
        maps = self.trunk(x)
        return list(maps.values())[-1] if isinstance(maps, dict) else maps


class LibraryDetector(Detector):
    """A torchvision detector for `classes` classes; raises Refusal if `name` is not in LIBRARY_DETECTORS.

    pretrained: load ImageNet weights into the backbone and freeze its batch norms.
    SSDs resize every image to their fixed size, other detectors use images as they are.
    """

    def __init__(self, name: str, classes: int, size: int, *, pretrained: bool = False) -> None:
        super().__init__()
        import torchvision

        wanted = message("detection.wanted.detector_torchvision", "a detector of torchvision")
        spec = LIBRARY_DETECTORS[one_of("--model", name, LIBRARY_DETECTORS, wanted)]
        self.shift, self.masked = int(spec.background), spec.masks
        build: Callable[..., Any] = getattr(torchvision.models.detection, name)
        own_size = {} if spec.resizes else {"min_size": size, "max_size": size, "_skip_resize": True}
        self.model = build(
            weights=None,
            weights_backbone="DEFAULT" if pretrained else None,
            num_classes=classes + self.shift,
            image_mean=[0.0] * 3,  # images are normalised before
            image_std=[1.0] * 3,
            **own_size,
        )
        self.trunk, self.model.backbone = self.model.backbone, PrecomputedMaps()

    @property
    def backbone(self) -> nn.Module:
        """The backbone as a network that returns one tensor."""
        return LastMap(self.trunk)

    def outputs(self, images: Tensor) -> dict[str, Any]:
        """images, and the backbone's maps of the images as resized or padded by torchvision."""
        canvas, _ = self.model.transform(list(images))
        return {"images": images, "maps": self.trunk(canvas.tensors)}

    def losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        """torchvision's losses, and their sum."""
        targets = [self._target(objects, i) for i in range(len(objects))]
        parts = {LOSSES[name]: value for name, value in self._run(outputs, targets).items()}
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    @torch.no_grad()
    def detect(
        self, outputs: dict[str, Any], min_score: float = 0.05, nms_iou: float = 0.5, max_detections: int = 100
    ) -> list[Detections]:
        """Detect with the score threshold, NMS and limit of torchvision's own code."""
        part = getattr(self.model, "roi_heads", self.model)
        part.score_thresh, part.nms_thresh, part.detections_per_img = min_score, nms_iou, max_detections
        return [self._found(found) for found in self._run(outputs, None)]

    def _target(self, objects: ObjectBatch, i: int) -> dict[str, Tensor]:
        boxes = objects.boxes[i]
        kept = (objects.labels[i] != PADDING) & ~objects.ignore[i] & (boxes[:, 2:] > boxes[:, :2]).all(1)
        target = {"boxes": boxes[kept], "labels": objects.labels[i][kept] + self.shift}
        return target | ({"masks": objects.masks[i][kept]} if objects.masks is not None else {})

    def _found(self, found: dict[str, Tensor]) -> Detections:
        masks = (found["masks"][:, 0] > 0.5).to(torch.uint8) if self.masked else None
        return Detections(found["boxes"], found["scores"], found["labels"] - self.shift, masks)

    def _run(self, outputs: dict[str, Any], targets: list[dict[str, Tensor]] | None) -> Any:
        """Run everything after the backbone, in float32, since anchors in half precision are off by pixels."""
        images, maps = outputs["images"].float(), outputs["maps"]
        maps = {k: v.float() for k, v in maps.items()} if isinstance(maps, dict) else maps.float()
        self.model.backbone.maps = maps
        try:
            with self._mode(targets is not None), torch.autocast(images.device.type, enabled=False):
                return self.model(list(images), targets)
        finally:
            self.model.backbone.maps = None  # free the graph of the batch

    @contextmanager
    def _mode(self, losses: bool) -> Iterator[None]:
        modules = dict(self.model.named_modules())
        parts = [modules[name] for name in MODAL if name in modules]
        before = [part.training for part in parts]
        for part in parts:
            part.training = losses
        try:
            yield
        finally:
            for part, mode in zip(parts, before):
                part.training = mode


def builder(name: str) -> Callable[..., LibraryDetector]:
    """Constructor (backbone, classes, size, *, pretrained) as in `DetectorSpec.build`; the backbone is not used."""
    return partial(_build, name)


def _build(name: str, backbone: None, classes: int, size: int, *, pretrained: bool = False) -> LibraryDetector:
    return LibraryDetector(name, classes, size, pretrained=pretrained)

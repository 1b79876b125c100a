"""Name -> detector: the table of all detectors, and what each stands on by default."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from danlu.detection.detector import Detector
from danlu.detection.fast_rcnn import FastRCNN
from danlu.detection.faster_rcnn import FasterRCNN
from danlu.detection.library import MASKED, NAMES, TWO_STAGES, builder
from danlu.detection.mask_rcnn import MaskRCNN
from danlu.detection.rcnn import RCNN
from danlu.detection.retinanet import RetinaNet
from danlu.detection.ssd import ssd, ssd300
from danlu.detection.yolo import YOLO
from danlu.detection.yolo_v1 import YOLOv1
from danlu.refuse import refusal


@dataclass(frozen=True)
class DetectorSpec:
    """build: (backbone, classes, size, **options). backbone: the network it stands on where none is named; None: it
    brings its own.

    masks: it finds masks too. multiple: of which the side of the images must be one. size: the side it is made for.
    two_stages: proposes regions, then classifies each: it takes smaller batches and a lower learning rate.
    per_region: runs the backbone on every region separately (R-CNN).
    training_images: images of 320 px to train on by default, over all epochs; fewer of larger, more of smaller images.
    light_backbone, light_width: backbone and pyramid channels to use on a CPU without trained weights, where the
    default backbone is too slow. nms_iou: default IoU threshold of non-maximum suppression.
    """

    build: Callable[..., Detector]
    description: str
    backbone: str | None
    masks: bool = False
    multiple: int = 32
    size: int | None = None
    two_stages: bool = False
    per_region: bool = False
    training_images: int = 12_000  # minutes on two cores
    light_backbone: str | None = None
    light_width: int | None = None
    nms_iou: float = 0.6

    @property
    def options(self) -> tuple[str, ...]:
        """Its own, after those of the detector that it adds to and hands the rest on to (**options)."""
        build = self.build.func if isinstance(self.build, partial) else self.build
        found: tuple[str, ...] = ()
        for one in inspect.getmro(build) if inspect.isclass(build) else (build,):
            parameters = inspect.signature(one).parameters.values()
            found = (*(p.name for p in parameters if p.kind is p.KEYWORD_ONLY), *found)
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
        return found


# Of Faster and Mask R-CNN on a feature pyramid; on published weights with norm "frozen".
PUBLISHED: dict[str, Any] = {
    "width": 256,
    "hidden": 1024,
    "anchor": 32.0,
    "proposals": 1000,
    "candidates": 1000,
    "regions": 512,
    "positive_share": 0.25,
}

DETECTORS: dict[str, DetectorSpec] = {
    "yolo-nano": DetectorSpec(
        partial(YOLO, width=64), "anchor-free YOLO on cspnet-nano: fast, also without a card", "cspnet-nano"
    ),
    "yolo-tiny": DetectorSpec(partial(YOLO, width=96), "anchor-free YOLO on cspnet-tiny", "cspnet-tiny"),
    "yolo-small": DetectorSpec(partial(YOLO, width=128), "anchor-free YOLO on cspnet-small", "cspnet-small"),
    "rcnn": DetectorSpec(
        RCNN,
        "a network on every region, then support vector machines",
        "cspnet-nano",
        multiple=1,
        two_stages=True,
        per_region=True,
        training_images=2_000,
        nms_iou=0.3,
    ),
    "fast-rcnn": DetectorSpec(
        FastRCNN,
        "regions found in the pixels, cut out of one map of the image",
        "resnet18",
        two_stages=True,
        training_images=6_000,
        light_backbone="cspnet-nano",
    ),
    "faster-rcnn": DetectorSpec(
        FasterRCNN,
        "two stages: proposed regions, then what each shows",
        "resnet18",
        two_stages=True,
        training_images=9_000,
        light_backbone="cspnet-nano",
        light_width=64,
    ),
    "mask-rcnn": DetectorSpec(
        MaskRCNN,
        "Faster R-CNN that finds masks too",
        "resnet18",
        masks=True,
        two_stages=True,
        training_images=8_000,
        light_backbone="cspnet-nano",
        light_width=64,
    ),
    "faster-rcnn-resnet50": DetectorSpec(
        partial(FasterRCNN, **PUBLISHED),
        "Faster R-CNN as published for COCO",
        "resnet50",
        two_stages=True,
        training_images=6_000,
    ),
    "mask-rcnn-resnet50": DetectorSpec(
        partial(MaskRCNN, **PUBLISHED, mask_width=256, mask_layers=4),
        "Mask R-CNN as published for COCO",
        "resnet50",
        masks=True,
        two_stages=True,
        training_images=6_000,
    ),
    "ssd": DetectorSpec(ssd, "SSD on the maps of a small network", "cspnet-nano"),
    "ssd300": DetectorSpec(ssd300, "SSD300 on VGG-16, the paper's form", "vgg16", multiple=1, size=300),
    "retinanet": DetectorSpec(
        RetinaNet, "feature pyramid, anchors and focal loss, narrow", "cspnet-nano", training_images=15_000
    ),
    "retinanet-resnet50": DetectorSpec(
        partial(RetinaNet, width=256, depth=4, anchor=32.0, levels=5), "RetinaNet as published", "resnet50"
    ),
    "yolo-v1": DetectorSpec(
        YOLOv1, "YOLO's first idea: one grid, an object to a cell", "cspnet-nano", training_images=18_000
    ),
    **{
        f"torchvision/{name}": DetectorSpec(
            builder(name),
            "of torchvision",
            None,
            masks=name in MASKED,
            multiple=1,
            two_stages=name in TWO_STAGES,
            training_images=6_000 if name in TWO_STAGES else 12_000,
        )
        for name in NAMES
    },
}


# Options that some detector takes.
DETECTOR_OPTIONS = frozenset(option for entry in DETECTORS.values() for option in entry.options)


def find_detector(name: str) -> DetectorSpec:
    """Refusal, with the nearest name, when there is no such detector."""
    if name not in DETECTORS:
        raise refusal("--model", "a detector", name, near=DETECTORS)
    return DETECTORS[name]


def build_detector(name: str, backbone: Any, *, classes: int, size: int, **options: Any) -> Detector:
    """A detector with drawn weights on a backbone (`models.build_backbone`), for images of size x size.

    Refusal for an unknown name, an option that it does not take, or a size it cannot.
    """
    entry = find_detector(name)
    options = {k: v for k, v in options.items() if v is not None}
    for option, value in options.items():
        if option not in entry.options:
            takes = ", ".join(entry.options) or "no options"
            raise refusal(option, f"left out for {name}, which takes {takes}", value)
    if size % entry.multiple:
        raise refusal("--size", f"a multiple of {entry.multiple} for {name}", size)
    return entry.build(backbone, classes, size, **options)

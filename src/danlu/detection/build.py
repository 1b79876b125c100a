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
from danlu.detection.library import MASKED, NAMES, builder
from danlu.detection.mask_rcnn import MaskRCNN
from danlu.detection.rcnn import RCNN
from danlu.detection.retinanet import RetinaNet
from danlu.detection.ssd import ssd, ssd300
from danlu.detection.yolo import YOLO
from danlu.detection.yolo_v1 import YOLOv1
from danlu.refuse import refusal


@dataclass(frozen=True)
class Entry:
    """build: (backbone, classes, size, **options). backbone: the network it stands on where none is named; None: it
    brings its own.

    masks: it finds masks too. multiple: of which the side of the images must be one. size: the side it is made for.
    """

    build: Callable[..., Detector]
    description: str
    backbone: str | None
    masks: bool = False
    multiple: int = 32
    size: int | None = None

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

DETECTORS: dict[str, Entry] = {
    "yolo-nano": Entry(
        partial(YOLO, width=64), "anchor-free YOLO on cspnet-nano: fast, also without a card", "cspnet-nano"
    ),
    "yolo-tiny": Entry(partial(YOLO, width=96), "anchor-free YOLO on cspnet-tiny", "cspnet-tiny"),
    "yolo-small": Entry(partial(YOLO, width=128), "anchor-free YOLO on cspnet-small", "cspnet-small"),
    "rcnn": Entry(RCNN, "a network on every region, then support vector machines", "cspnet-nano", multiple=1),
    "fast-rcnn": Entry(FastRCNN, "regions found in the pixels, cut out of one map of the image", "resnet18"),
    "faster-rcnn": Entry(FasterRCNN, "two stages: proposed regions, then what each shows", "resnet18"),
    "mask-rcnn": Entry(MaskRCNN, "Faster R-CNN that finds masks too", "resnet18", masks=True),
    "faster-rcnn-resnet50": Entry(partial(FasterRCNN, **PUBLISHED), "Faster R-CNN as published for COCO", "resnet50"),
    "mask-rcnn-resnet50": Entry(
        partial(MaskRCNN, **PUBLISHED, mask_width=256, mask_layers=4),
        "Mask R-CNN as published for COCO",
        "resnet50",
        masks=True,
    ),
    "ssd": Entry(ssd, "SSD on the maps of a small network", "cspnet-nano"),
    "ssd300": Entry(ssd300, "SSD300 on VGG-16, the paper's form", "vgg16", multiple=1, size=300),
    "retinanet": Entry(RetinaNet, "feature pyramid, anchors and focal loss, narrow", "cspnet-nano"),
    "retinanet-resnet50": Entry(
        partial(RetinaNet, width=256, depth=4, anchor=32.0, levels=5), "RetinaNet as published", "resnet50"
    ),
    "yolo-v1": Entry(YOLOv1, "YOLO's first idea: one grid, an object to a cell", "cspnet-nano"),
    **{
        f"torchvision/{name}": Entry(builder(name), "of torchvision", None, masks=name in MASKED, multiple=1)
        for name in NAMES
    },
}


# Options that some detector takes.
DETECTOR_OPTIONS = frozenset(option for entry in DETECTORS.values() for option in entry.options)


def find_detector(name: str) -> Entry:
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

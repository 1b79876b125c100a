"""The table of all detectors, with their facts and defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from danlu.detection.detector import Detector
from danlu.detection.detr import DETR
from danlu.detection.detr_small import SmallDETR
from danlu.detection.fast_rcnn import FastRCNN
from danlu.detection.faster_rcnn import FasterRCNN
from danlu.detection.library import LIBRARY_DETECTORS, builder
from danlu.detection.mask_rcnn import MaskRCNN
from danlu.detection.pose_crop import PoseCrop
from danlu.detection.posecnn import PoseCNN, PoseCNNSmall
from danlu.detection.rcnn import RCNN
from danlu.detection.retinanet import RetinaNet
from danlu.detection.ssd import ssd, ssd300
from danlu.detection.yolo import YOLO
from danlu.detection.yolo_v1 import YOLOv1
from danlu.message import message
from danlu.models.network_table import build_backbone
from danlu.refuse import refusal


@dataclass(frozen=True)
class DetectorSpec:
    """Facts about one detector.

    build: constructor (backbone, classes, size, **options). description: one line. backbone: default backbone; None for
    detectors with a built-in backbone. masks: predicts masks too. poses: estimates poses
    in space. learns_masks: needs masks of the training objects, which are drawn from the models of data without any,
    although it predicts none. multiple: the image side must be a multiple of it.
    size: image side in pixels that it is designed for; None for any. two_stages: proposes regions, then classifies
    them; trained with smaller batches and a lower learning rate. per_region: runs the backbone on every region (R-CNN).
    training_images: default number of images of 320 px to train on, over all epochs; scaled down for larger images.
    light_backbone, light_width: backbone and pyramid channels on a CPU without pretrained weights, where the default
    backbone is too slow. nms_iou: default IoU threshold of non-maximum suppression, 1 for detectors without it.
    packaged: its default backbone on colour photographs is the packaged ImageNet network. optimizer: default update
    rule from random initialisation. lr: default peak learning rate of adamw; None for that of most detectors.
    clip_norm: default max norm of the gradient, None for no limit. needs_fp32: its outputs need more digits than bf16
    has. batch_size: default number of images per step of large sets. backbone_at: its backbone, as a dotted name.
    """

    build: Callable[..., Detector]
    description: str
    backbone: str | None
    masks: bool = False
    poses: bool = False
    learns_masks: bool = False
    multiple: int = 32
    size: int | None = None
    two_stages: bool = False
    per_region: bool = False
    training_images: int = 12_000  # minutes on two cores
    light_backbone: str | None = None
    light_width: int | None = None
    nms_iou: float = 0.6
    packaged: bool = False
    optimizer: str = "adamw"
    lr: float | None = None
    clip_norm: float | None = None
    needs_fp32: bool = False
    batch_size: int = 16
    backbone_at: str = "backbone"

    @property
    def options(self) -> tuple[str, ...]:
        """Names of its options: its own after those of the base class that gets its **options."""
        build = self.build.func if isinstance(self.build, partial) else self.build
        found: tuple[str, ...] = ()
        for one in inspect.getmro(build) if inspect.isclass(build) else (build,):
            parameters = inspect.signature(one).parameters.values()
            found = (*(p.name for p in parameters if p.kind is p.KEYWORD_ONLY), *found)
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
        return found


# Options of the published Faster and Mask R-CNN with a feature pyramid; pretrained weights need norm "frozen".
PUBLISHED: dict[str, Any] = {
    "width": 256,
    "hidden": 1024,
    "anchor": 32.0,
    "proposals": 1000,
    "candidates": 1000,
    "regions": 512,
    "positive_fraction": 0.25,
}

_yolo = partial(DetectorSpec, packaged=True, optimizer="muon")
DETECTORS: dict[str, DetectorSpec] = {
    "yolo-nano": _yolo(
        partial(YOLO, width=64), "anchor-free YOLO on cspnet-nano: fast, also without a GPU", "cspnet-nano"
    ),
    "yolo-tiny": _yolo(partial(YOLO, width=96), "anchor-free YOLO on cspnet-tiny", "cspnet-tiny"),
    "yolo-small": _yolo(partial(YOLO, width=128), "anchor-free YOLO on cspnet-small", "cspnet-small"),
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
        "proposals from pixels, pooled from one feature map",
        "resnet18",
        two_stages=True,
        training_images=6_000,
        light_backbone="cspnet-nano",
        packaged=True,
    ),
    "faster-rcnn": DetectorSpec(
        FasterRCNN,
        "a region proposal network, then a classifier of regions",
        "resnet18",
        two_stages=True,
        training_images=9_000,
        light_backbone="cspnet-nano",
        light_width=64,
        packaged=True,
    ),
    "mask-rcnn": DetectorSpec(
        MaskRCNN,
        "Faster R-CNN with a mask head",
        "resnet18",
        masks=True,
        two_stages=True,
        training_images=8_000,
        light_backbone="cspnet-nano",
        light_width=64,
        packaged=True,
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
    "ssd": DetectorSpec(ssd, "SSD on a small backbone", "cspnet-nano", packaged=True, optimizer="muon"),
    "ssd300": DetectorSpec(ssd300, "SSD300 on VGG-16, as published", "vgg16", multiple=1, size=300),
    "retinanet": DetectorSpec(
        RetinaNet,
        "a narrow RetinaNet: feature pyramid, anchors, focal loss",
        "cspnet-nano",
        training_images=15_000,
        packaged=True,
        optimizer="muon",
    ),
    "retinanet-resnet50": DetectorSpec(
        partial(RetinaNet, width=256, depth=4, anchor=32.0, levels=5), "RetinaNet as published", "resnet50"
    ),
    "detr-small": DetectorSpec(
        SmallDETR,
        "a small DETR without suppression: queries from the map, refined by attention around boxes",
        "cspnet-nano",
        training_images=10_750,
        nms_iou=1.0,
        packaged=True,
        optimizer="muon",
        lr=1e-3,
        clip_norm=50.0,
    ),
    "detr": DetectorSpec(
        DETR,
        "DETR as published: 100 queries, transformer of 6 + 6 layers; needs hundreds of epochs",
        "resnet50",
        training_images=60_000,
        nms_iou=1.0,
        lr=1e-4,
        clip_norm=0.1,
    ),
    "pose-crop": DetectorSpec(
        PoseCrop,
        "6D poses: finds objects, then reads rotation and position from a crop of each",
        "cspnet-nano",
        poses=True,
        training_images=13_000,
        lr=2e-3,
        backbone_at="detector.backbone",
    ),
    "posecnn": DetectorSpec(
        PoseCNN,
        "6D poses: labels pixels, votes for centres, reads rotations from regions; VGG-16, as published",
        "vgg16",
        poses=True,
        learns_masks=True,
        needs_fp32=True,
        batch_size=32,
        multiple=16,
        training_images=26_000,
        nms_iou=1.0,
        lr=1e-4,  # for VGG-16, which has no normalisation
    ),
    "posecnn-small": DetectorSpec(
        partial(PoseCNNSmall, width=32, hidden=256),
        "PoseCNN on a small trunk, poses aligned with the image",
        "cspnet-nano",
        poses=True,
        learns_masks=True,
        needs_fp32=True,
        batch_size=32,
        training_images=6_700,
        nms_iou=1.0,
    ),
    "yolo-v1": DetectorSpec(YOLOv1, "YOLO v1: one grid, one object per cell", "cspnet-nano", training_images=18_000),
    **{
        f"torchvision/{name}": DetectorSpec(
            builder(name),
            "torchvision's implementation",
            None,
            masks=spec.masks,
            multiple=1,
            two_stages=spec.two_stages,
            training_images=6_000 if spec.two_stages else 12_000,
        )
        for name, spec in LIBRARY_DETECTORS.items()
    },
}


# Options of any detector.
DETECTOR_OPTIONS = frozenset(option for spec in DETECTORS.values() for option in spec.options)


def find_detector(name: str) -> DetectorSpec:
    """Look up a detector. Raises Refusal, with the nearest name, if it does not exist."""
    if name not in DETECTORS:
        raise refusal("--model", message("detection.wanted.detector", "a detector"), name, near=DETECTORS)
    return DETECTORS[name]


def build_detector(name: str, backbone: Any, *, classes: int, size: int, **options: Any) -> Detector:
    """Build a randomly initialised detector on a backbone (`models.build_backbone`), for images of size x size pixels.

    Raises Refusal for an unknown name, an option that it does not have, or a size that is not supported.
    """
    spec = find_detector(name)
    options = {k: v for k, v in options.items() if v is not None}
    for option, value in options.items():
        if option not in spec.options:
            takes = ", ".join(spec.options) or "no options"
            raise refusal(
                option,
                message(
                    "detection.wanted.omitted_takes", "omitted for {name}, which takes {takes}", name=name, takes=takes
                ),
                value,
            )
    if size % spec.multiple:
        raise refusal(
            "--size",
            message(
                "detection.wanted.multiple", "a multiple of {multiple} for {name}", multiple=spec.multiple, name=name
            ),
            size,
        )
    return spec.build(backbone, classes, size, **options)


def build_with_backbone(
    name: str, backbone: str | None, *, classes: int, channels: int, size: int, pretrained: bool = False, **options: Any
) -> Detector:
    """Build a detector and its backbone by name. Options that the detector does not take are its backbone's.

    backbone: None for the detector's default. Raises Refusal as `build_detector` does, and for a backbone of a detector
    that has its own.
    """
    spec = find_detector(name)
    more = {"pretrained": True} if pretrained else {}
    if spec.backbone is None:
        if backbone:
            omitted = message("detection.wanted.omitted_own", "omitted for {model}, which has its own", model=name)
            raise refusal("--backbone", omitted, backbone)
        return build_detector(name, None, classes=classes, size=size, **options, **more)
    own = {k: v for k, v in options.items() if k in spec.options}
    rest = {k: v for k, v in options.items() if k not in spec.options}
    built = build_backbone(backbone or spec.backbone, channels=channels, size=size, **rest, **more)
    return build_detector(name, built, classes=classes, size=size, **own)

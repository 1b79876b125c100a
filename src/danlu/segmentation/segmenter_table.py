"""The table of networks for semantic segmentation, with their facts and defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from danlu.message import message
from danlu.models.network_table import build_backbone
from danlu.refuse import refusal
from danlu.segmentation.fcn import FCN
from danlu.segmentation.pyramid_head import DeepLab, PyramidSegmenter
from danlu.segmentation.segmenter import Segmenter
from danlu.segmentation.unet import UNet


@dataclass(frozen=True)
class SegmenterSpec:
    """Facts about one network for semantic segmentation.

    build: constructor (backbone, classes, size, **options); (channels, classes, size, **options) if `backbone` is None.
    description: one line. backbone: default backbone; None for networks without one. any_backbone: other backbones are
    possible. multiple: the image side must be a multiple of it. light: default options on a CPU, where it starts from
    random initialisation. optimizer: default update rule from random initialisation. packaged: its default backbone on
    colour photographs is the packaged ImageNet network. training_images: default number of images of 256 px to train
    on, over all epochs. lr: default learning rate of adamw.
    """

    build: Callable[..., Segmenter]
    description: str
    backbone: str | None = None
    any_backbone: bool = False
    multiple: int = 32
    light: Mapping[str, int] = field(default_factory=dict)
    optimizer: str = "adamw"
    packaged: bool = False
    training_images: int = 8_000
    lr: float = 3e-3

    @property
    def options(self) -> tuple[str, ...]:
        """Names of its own options: the keyword-only arguments of `build`."""
        build = self.build.func if isinstance(self.build, partial) else self.build
        parameters = inspect.signature(build).parameters.values()
        return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


_fcn = partial(SegmenterSpec, backbone="vgg16", training_images=3_000, lr=1e-4)
SEGMENTERS: dict[str, SegmenterSpec] = {
    "fpn": SegmenterSpec(
        PyramidSegmenter,
        "a feature pyramid on any backbone, levels summed",
        "cspnet-nano",
        any_backbone=True,
        packaged=True,
    ),
    "deeplab": SegmenterSpec(
        DeepLab,
        "DeepLabV3+ head on any backbone: several dilations, and a fine map",
        "cspnet-nano",
        any_backbone=True,
        packaged=True,
    ),
    "unet": SegmenterSpec(
        UNet,
        "U-Net: encoder and decoder with skip connections",
        multiple=16,
        light={"width": 24, "fold_pixels": 2, "levels": 4, "fine_width": 8},
        optimizer="muon",
        training_images=11_000,
    ),
    "fcn32s": _fcn(partial(FCN, stride=32), "FCN-32s on VGG-16, as published"),
    "fcn16s": _fcn(partial(FCN, stride=16), "FCN-16s: FCN-32s with scores of pool4"),
    "fcn8s": _fcn(partial(FCN, stride=8), "FCN-8s: FCN-16s with scores of pool3"),
}
SEGMENTER_OPTIONS = frozenset(option for spec in SEGMENTERS.values() for option in spec.options)


def find_segmenter(name: str) -> SegmenterSpec:
    """Look up a network for semantic segmentation. Raises Refusal, with the nearest name, if it does not exist."""
    if name not in SEGMENTERS:
        wanted = message("segmentation.wanted.network", "a network for --task semantic ({names})", names=[*SEGMENTERS])
        raise refusal("--model", wanted, name, near=SEGMENTERS)
    return SEGMENTERS[name]


def build_segmenter(
    name: str, *, channels: int, classes: int, size: int, backbone: str | None = None, **options: Any
) -> Segmenter:
    """Build a randomly initialised network: images (N, channels, size, size) -> logits (N, classes, size, size).

    backbone: a network of `models`, or timm/NAME; None: the default of `name`. options: of the network or its
    backbone; None means the default. Raises Refusal for an unknown name, an option that neither takes, or a size or
    backbone that is not supported.
    """
    spec = find_segmenter(name)
    if size % spec.multiple:
        wanted = message(
            "segmentation.wanted.multiple", "a multiple of {multiple} for {name}", multiple=spec.multiple, name=name
        )
        raise refusal("--size", wanted, size)
    if backbone is not None and not spec.any_backbone:
        able = [other for other, one in SEGMENTERS.items() if one.any_backbone]
        wanted = message(
            "segmentation.wanted.no_backbone",
            "omitted for {name}, which has its own ({able} take any)",
            name=name,
            able=able,
        )
        raise refusal("--backbone", wanted, backbone)
    own = {k: v for k, v in options.items() if k in spec.options and v is not None}
    rest = {k: v for k, v in options.items() if k not in spec.options and v is not None}
    if spec.backbone is None:
        if rest:
            option, value = next(iter(rest.items()))
            takes = [*spec.options]
            wanted = message(
                "segmentation.wanted.no_option", "omitted for {name}, which takes {takes}", name=name, takes=takes
            )
            raise refusal(f"--{option}", wanted, value)
        return spec.build(channels, classes, size, **own)
    body = build_backbone(backbone or spec.backbone, channels=channels, size=size, **rest)
    return spec.build(body, classes, size, **own)

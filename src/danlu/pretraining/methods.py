"""The table of the methods of pretraining, and the function that builds one from its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from danlu.message import Message, message
from danlu.models.backbone import Backbone
from danlu.models.network_table import MODELS, build_backbone
from danlu.models.networks.vit import ViT
from danlu.pretraining.masked import MAE, BEiT, SimMIM
from danlu.pretraining.pretrainer import Pretrainer
from danlu.pretraining.tokenizer import TOKENIZERS
from danlu.pretraining.two_views import BYOL, SimCLR, SimSiam
from danlu.refuse import refusal

UNITS_PER_SIDE = 4  # of SimMIM's mask, as far as the patches allow


@dataclass(frozen=True)
class MethodSpec:
    """Facts about one method.

    build: (backbone, channels, size, options) -> module. options: settings of the section `pretrain` that it takes.
    baseline: the answer that ignores the image, with which its loss is compared. mask: default fraction of hidden
    patches. views: it compares two views of each image. transformer: the backbone must be a vision transformer.
    collapse_lowers_loss: its loss also falls when all embeddings become equal. optimizer: default.
    """

    build: Callable[[Any, int, int, Mapping[str, Any]], Pretrainer]
    options: tuple[str, ...]
    baseline: Message
    mask: float | None = None
    views: bool = False
    transformer: bool = False
    collapse_lowers_loss: bool = False
    optimizer: str = "adamw"


def _mae(backbone: ViT, channels: int, size: int, options: Mapping[str, Any]) -> Pretrainer:
    names = ("mask", "decoder_width", "decoder_depth", "norm_patches")
    return MAE(backbone, channels, size, **{name: options[name] for name in names})


def _half_of(size: int) -> Message:
    return message("pretraining.wanted.half", "at most half of the image's side of {size}", size=size)


def _simmim(backbone: Backbone, channels: int, size: int, options: Mapping[str, Any]) -> Pretrainer:
    stride = backbone.feature_strides[-1]
    if size % stride:
        text = "a multiple of {stride}, the stride of the network's last map"
        raise refusal("data.size", message("pretraining.wanted.size", text, stride=stride), size)
    patch = stride if isinstance(backbone, ViT) else 1
    unit = options["unit"]
    if unit is None:
        fitting = [u for u in range(patch, size // 2 + 1) if size % u == 0 and u % patch == 0]
        if not fitting:
            raise refusal("model.patch", _half_of(size), patch)
        unit = min(fitting, key=lambda u: (abs(u - size / UNITS_PER_SIDE), u))
    if size % unit or unit % patch or unit > size // 2:
        wanted = message(
            "pretraining.wanted.unit", "a divisor of the image's side {size}, at most half of it", size=size
        )
        if patch > 1:
            text = (
                "a divisor of the image's side {size}, at most half of it, and a multiple of the patch's side {patch}"
            )
            wanted = message("pretraining.wanted.unit_of_patches", text, size=size, patch=patch)
        raise refusal("pretrain.unit", wanted, unit)
    return SimMIM(backbone, channels, size, mask=options["mask"], unit=unit)


def _beit(backbone: ViT, channels: int, size: int, options: Mapping[str, Any]) -> Pretrainer:
    tokenizer = TOKENIZERS[options["tokenizer"]](backbone.feature_strides[-1], channels, options["codes"])
    return BEiT(backbone, channels, size, mask=options["mask"], tokenizer=tokenizer)


def _simclr(backbone: Backbone, channels: int, size: int, options: Mapping[str, Any]) -> Pretrainer:
    return SimCLR(backbone, **{name: options[name] for name in ("hidden", "projection", "temperature")})


def _simsiam(backbone: Backbone, channels: int, size: int, options: Mapping[str, Any]) -> Pretrainer:
    return SimSiam(backbone, **{name: options[name] for name in ("hidden", "projection")})


def _byol(backbone: Backbone, channels: int, size: int, options: Mapping[str, Any]) -> Pretrainer:
    return BYOL(backbone, **{name: options[name] for name in ("hidden", "projection", "momentum")})


METHODS: dict[str, MethodSpec] = {
    "mae": MethodSpec(
        _mae,
        options=("mask", "decoder_width", "decoder_depth", "norm_patches"),
        baseline=message("pretraining.baseline.mae", "the mean of each patch"),
        mask=0.75,
        transformer=True,
    ),
    "simmim": MethodSpec(
        _simmim,
        options=("mask", "unit"),
        baseline=message("pretraining.baseline.simmim", "the mean colour of the data"),
        mask=0.6,
    ),
    "beit": MethodSpec(
        _beit,
        options=("mask", "tokenizer", "codes"),
        baseline=message("pretraining.baseline.beit", "the frequencies of the tokens"),
        mask=0.4,
        transformer=True,
    ),
    "simclr": MethodSpec(
        _simclr,
        options=("hidden", "projection", "temperature"),
        baseline=message("pretraining.baseline.simclr", "equal embeddings of all images, log(2n - 1)"),
        views=True,
    ),
    "simsiam": MethodSpec(
        _simsiam,
        options=("hidden", "projection"),
        baseline=message("pretraining.baseline.simsiam", "unrelated embeddings of the two views, 0"),
        views=True,
        collapse_lowers_loss=True,
        optimizer="momentum",
    ),
    "byol": MethodSpec(
        _byol,
        options=("hidden", "projection", "momentum"),
        baseline=message("pretraining.baseline.byol", "unrelated embeddings of the two views, 2"),
        views=True,
        collapse_lowers_loss=True,
        optimizer="momentum",
    ),
}


def build_pretrainer(
    name: str, network: Mapping[str, Any], settings: Mapping[str, Any], *, channels: int, size: int
) -> Pretrainer:
    """Build a method around a randomly initialised backbone.

    Args:
        name: Network, as for `build_backbone`.
        network: Its options.
        settings: "method" and its options.
        channels, size: Of the images.

    Raises:
        Refusal: A network that the method cannot take, or sizes that do not fit.
    """
    method = settings["method"]
    spec = METHODS[method]
    backbone = build_backbone(name, channels=channels, size=size, **network)
    if spec.transformer and not isinstance(backbone, ViT):
        fitting = [known for known, one in MODELS.items() if one.family == "vit"]
        text = "a vision transformer for --method {method} ({fitting})"
        wanted = message("pretraining.wanted.transformer", text, method=method, fitting=fitting)
        do = message("pretraining.do.simmim", "--method simmim takes any network with stages")
        raise refusal("--model", wanted, name, do=do)
    if spec.mask is not None and isinstance(backbone, ViT) and backbone.side < 2:
        patch = backbone.feature_strides[-1]
        raise refusal("model.patch", _half_of(size), patch)
    return spec.build(backbone, channels, size, settings)


def check_last_map(pretrainer: Pretrainer, channels: int, size: int) -> None:
    """Run one blank image through the backbone. Raises Refusal if its last map is not that of its stride."""
    with torch.no_grad():
        pretrainer.eval()
        last = pretrainer.backbone.features(torch.zeros(1, channels, size, size))[-1]
        pretrainer.train()
    stride = pretrainer.backbone.feature_strides[-1]
    if isinstance(pretrainer, SimMIM) and last.shape[-1] * stride != size:
        text = "a network whose last map has one cell per stride, for --method simmim"
        got = "{cells} cells of stride {stride} for {size} pixels"
        facts = {"cells": last.shape[-1], "stride": stride, "size": size}
        raise refusal(
            "--model", message("pretraining.wanted.last_map", text), message("pretraining.got.cells", got, **facts)
        )

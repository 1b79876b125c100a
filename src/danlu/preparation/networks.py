"""Networks from signatures and settings: with fresh weights, published ones, or those a training starts from."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from danlu.config import Config, ModelConfig
from danlu.detection.detector_table import DETECTOR_OPTIONS, build_with_backbone
from danlu.detection.pose_detector import PoseDetector
from danlu.message import message
from danlu.models.network_table import build_model, find_network
from danlu.models.spec import NetworkFacts
from danlu.preparation.freezing import freeze, freeze_norms, frozen_parts
from danlu.preparation.prepared import Prepared
from danlu.preparation.transfer import Transfer
from danlu.pretraining.methods import build_pretrainer, check_last_map
from danlu.refuse import refusal
from danlu.run.signature import Signature
from danlu.segmentation.segmenter_table import SEGMENTER_OPTIONS, build_segmenter
from danlu.several_inputs import take_several
from danlu.user_objects import is_own

TRAINING_ONLY = (
    "name",
    "pretrained",
    "sparse",
    "sparse_both",
    "sparse_refine",
)  # the trained network is built without them


def model_options(config: Config) -> dict[str, Any]:
    """Options of the network or detector that the config sets; the others are the network's own."""
    fresh = ModelConfig()
    options = {k: v for k, v in vars(config.model).items() if k not in TRAINING_ONLY and v != getattr(fresh, k)}
    return options | {
        k: v for k, v in vars(config.detect).items() if k in DETECTOR_OPTIONS | SEGMENTER_OPTIONS and v is not None
    }


def build_network(prepared: Prepared, seed: int) -> nn.Module:
    """The network of a training at its first step. seed: of the initialisation."""
    model = initial_network(prepared.signature, prepared.config, prepared.transfer, seed)
    if isinstance(model, PoseDetector) and prepared.objects is not None:
        model.set_models(prepared.objects.models, prepared.objects.typical_camera())
    return model


def initial_network(signature: Signature, config: Config, transfer: Transfer | None, seed: int) -> nn.Module:
    """A network initialised from the seed, with weights of `--init` copied in and layers of `--freeze` frozen."""
    torch.manual_seed(seed)
    model = network(signature, pretrained=config.model.pretrained)
    if transfer is not None:
        transfer.fill(model)
    freeze(model, frozen_parts(model, config.transfer.freeze or ()))
    if config.transfer.freeze_norm:
        freeze_norms(model)
    return model


def network(signature: Signature, pretrained: bool = False) -> nn.Module:
    """The network that a signature describes. pretrained: with published weights instead of fresh ones."""
    if signature.task_spec.finds_objects:
        return _detector(signature, pretrained)
    if signature.task_spec.targets == "none":
        return _pretrainer(signature, pretrained)
    if signature.task_spec.labels_pixels:
        return build_segmenter(
            signature.model,
            channels=signature.channels or 3,
            classes=signature.outputs,
            size=signature.size or 1,
            backbone=signature.backbone,
            **signature.options | ({"pretrained": True} if pretrained else {}),
        )
    spec, facts = find_network(signature.model), facts_of(signature)
    if spec.name:
        model = spec.build(facts)
        return take_several(model, signature.parts) if signature.parts else model
    return build_model(
        signature.model,
        channels=facts.channels,
        size=facts.size,
        classes=signature.outputs,
        inputs=facts.inputs,
        frames=facts.frames,
        mixed=signature.tokens is not None,
        pretrained=pretrained,
        **signature.options,
    )


def _pretrainer(signature: Signature, pretrained: bool) -> nn.Module:
    """A method of pretraining with its backbone."""
    if is_own(signature.model):
        wanted = message("preparation.wanted.pretrain_network", "a network of danlu or timm/NAME for `danlu pretrain`")
        raise refusal("--model", wanted, signature.model)
    shape = {"channels": signature.channels or 3, "size": signature.size or 1}
    options = signature.options | ({"pretrained": True} if pretrained else {})
    model = build_pretrainer(signature.model, options, signature.pretrain or {}, **shape)
    check_last_map(model, **shape)
    return model


def facts_of(signature: Signature) -> NetworkFacts:
    """Facts about the data for a network of the user."""
    shape = tuple(signature.input_shape)
    frames = shape[0] if len(shape) == 4 else None
    image = shape if frames is None else shape[1:]
    square = len(image) == 3 and image[1] == image[2]
    return NetworkFacts(
        classes=signature.outputs,
        shape=shape,
        channels=image[0] if len(image) == 3 else None,
        size=image[1] if square else None,
        frames=frames,
        inputs=shape[0] if len(shape) == 1 else None,
    )


def _detector(signature: Signature, pretrained: bool) -> nn.Module:
    options = dict(signature.options) | ({"pretrained": True} if pretrained else {})
    shape = {"classes": len(signature.classes), "channels": signature.channels or 3, "size": signature.size or 1}
    return build_with_backbone(signature.model, signature.backbone, **shape, **options)

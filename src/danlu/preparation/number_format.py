"""Precision and memory format of a training, chosen by timing the network on the device."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from danlu.config import Config, ResolvedConfig
from danlu.detection.detector import Detector
from danlu.detection.detector_table import DETECTORS
from danlu.engine.device import Format, probe_format
from danlu.learning.sparse import sparsify
from danlu.message import message, translated
from danlu.preparation.choices import Choice
from danlu.preparation.networks import initial_network
from danlu.preparation.transfer import Transfer
from danlu.pretraining.pretrainer import Pretrainer
from danlu.progress.stages import stage
from danlu.run.signature import Signature
from danlu.user_objects import is_own

MAX_PROBE_BATCH = 128


EXACT_POSES = message("choice.precision.poses", "a rotation to a degree needs more digits than bf16 has")


def choose_format(
    asked: Config, config: ResolvedConfig, signature: Signature, transfer: Transfer | None, device: torch.device
) -> tuple[ResolvedConfig, list[Choice]]:
    """The config with precision and channels_last where they were open in `asked`, the user's config.

    Builds the network, so that it raises Refusal for one that cannot be built.
    """

    def build() -> nn.Module:
        return initial_network(signature, config, transfer, config.seed)

    choices: list[Choice] = []
    probe = build()
    dense = sparsify(probe, config.model)
    if config.model.sparse:
        reason = message("choice.sparse_all", "two of every four input channels, in all layers")
        if dense:
            text = "two of every four input channels; these layers stay dense: {dense}"
            reason = message("choice.sparse", text, dense=dense)
        if config.model.sparse_both:
            text = "two of every four along input and output channels; dense layers: {dense}"
            reason = message("choice.sparse_both", text, dense=dense or [message("choice.sparse_none", "none")])
        choices.append(Choice("model.sparse", config.model.sparse, reason))
    if asked.precision is not None and asked.channels_last is not None:
        return config, choices
    if is_own(config.model.name):
        found = Format("fp32", False, message("choice.precision.own", "a network of your own; bf16 on request"))
    elif signature.size is None or not any(isinstance(m, nn.Conv2d) for m in probe.modules()):
        found = Format("fp32", False, message("choice.precision.no_convolutions", "no convolutions to speed up"))
    elif asked.precision is not None or asked.channels_last is not None:
        reason = message("choice.precision.given", "matches the given setting")
        found = Format("fp32", asked.precision in ("bf16", "fp16"), reason)
    elif device.type == "cuda" and _needs_fp32(signature):
        found = Format("fp32", True, EXACT_POSES)
    elif device.type == "cuda":
        precision = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
        found = Format(precision, signature.frames is None, message("choice.precision.tensor_cores", "tensor cores"))
    elif signature.frames is not None:
        found = Format("fp32", False, message("choice.precision.clips", "clips are folded into images layer by layer"))
    else:
        batch = min(config.batch_size, MAX_PROBE_BATCH)
        inputs = torch.randn(batch, signature.channels or 1, signature.size, signature.size, device=device)
        with stage(translated("stage.formats", "timing the network in several number formats")):
            found = probe_format(lambda: _timed_network(build()), inputs, half=not _needs_fp32(signature))
    if asked.precision is None:
        config = replace(config, precision=found.precision)
        why = EXACT_POSES if _needs_fp32(signature) else found.reason
        choices.append(Choice("precision", found.precision, why))
    if asked.channels_last is None:
        config = replace(config, channels_last=found.channels_last)
        choices.append(Choice("channels_last", found.channels_last, found.reason))
    return config, choices


def _needs_fp32(signature: Signature) -> bool:
    """Return whether bf16 has too few digits for the outputs of the network."""
    spec = DETECTORS.get(signature.model)
    return spec is not None and spec.needs_fp32


def _timed_network(model: nn.Module) -> nn.Module:
    """A module that returns one tensor: the network, or the backbone of a detector or a pretraining."""
    backbone = model.backbone if isinstance(model, Detector | Pretrainer) else model
    assert isinstance(backbone, nn.Module)
    return backbone

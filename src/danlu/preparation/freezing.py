"""Frozen layers, and smaller learning rates for layers far from the output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from danlu.detection.detector import Detector
from danlu.message import message
from danlu.models.layer_depth import head_name, levels, within
from danlu.models.parts import stay_in_eval
from danlu.refuse import refusal
from danlu.segmentation.segmenter import Segmenter

ALL_BUT_HEAD = "all-but-head"


def trains_only_head(frozen: Sequence[str] | None) -> bool:
    """Return whether `--freeze` leaves nothing but the head."""
    return tuple(frozen or ()) == (ALL_BUT_HEAD,)


def frozen_parts(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """Modules and parameters that `--freeze` names, as prefixes of dotted names.

    Raises Refusal if a pattern matches nothing, with the nearest names, or when nothing is left to train.
    """
    parameters = [name for name, _ in model.named_parameters()]
    known = {".".join(parts[:i]) for parts in (n.split(".") for n in parameters) for i in range(1, len(parts) + 1)}
    parts: list[str] = []
    for pattern in patterns:
        if pattern == ALL_BUT_HEAD:
            first = dict.fromkeys(name.partition(".")[0] for name in parameters)
            parts += [name for name in first if name != head_name(model)]
        elif pattern in known:
            parts.append(pattern)
        else:
            near = [n for n in known if n.count(".") <= pattern.count(".")]
            raise refusal(
                "--freeze",
                message("preparation.wanted.parts_network_parameters", "parts of the network with parameters"),
                pattern,
                near=[*near, ALL_BUT_HEAD],
            )
    if all(any(within(name, part) for part in parts) for name in parameters):
        raise refusal(
            "--freeze",
            message("preparation.wanted.such_some_parameters_still", "such that some parameters are still trained"),
            ",".join(patterns),
            do=message("preparation.do.all_head_trains_head", "all-but-head trains the head only"),
        )
    return parts


def freeze(model: nn.Module, parts: Sequence[str]) -> None:
    """Freeze these parts, in place: no gradients, and their modules stay in eval mode even after `model.train()`.

    Batch norms then use their running statistics without updating them, and dropout is off.
    """
    for name, parameter in model.named_parameters():
        if any(within(name, part) for part in parts):
            parameter.requires_grad_(False)
    for name, module in model.named_modules():
        if any(within(name, part) for part in parts):
            stay_in_eval(module)


def freeze_norms(model: nn.Module) -> None:
    """Keep every batch norm in eval mode, with its running statistics; scale and shift are still trained.

    Of a detector, only those of its backbone: the others have no statistics yet.
    """
    pretrained = getattr(model, "backbone", model) if isinstance(model, Detector | Segmenter) else model
    for module in pretrained.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            stay_in_eval(module)


def lr_factors(model: nn.Module, decay: float) -> dict[str, float]:
    """Learning-rate factor of each parameter by name: 1 in the head, `decay` one stage before it, decay^2 before that.

    Discriminative fine-tuning: Howard and Ruder, "Universal Language Model Fine-tuning", 2018, section 3.1.
    """
    depths = levels(model)
    return {name: decay ** (len(depths) - 1 - depth) for depth, names in enumerate(depths) for name in names}

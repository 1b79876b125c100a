"""Freeze or replace batch norm in detectors, whose batches are too small for reliable statistics."""

from __future__ import annotations

from torch import nn

from danlu.message import message
from danlu.models.parts import norm_layer, stay_in_eval
from danlu.refuse import one_of

# Name -> normalisation of the layers that a detector adds to its backbone.
ADDED_NORM = {"batch": "batch", "group": "group", "frozen": "none"}


def set_norm(backbone: nn.Module, norm: str) -> str:
    """Change the batch norms of a backbone in place; return the normalisation for layers added to it.

    batch: unchanged, for batches of 8 images or more. group: replaced by group norms, for training from random
    initialisation (Wu & He 2018). frozen: they keep the statistics of published weights and are not trained.
    Raises Refusal for an unknown name.
    """
    one_of("model.norm", norm, ADDED_NORM, message("detection.wanted.batch_group_frozen", "batch, group or frozen"))
    for module in list(backbone.modules()) if norm == "group" else []:
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                group, activation = norm_layer("group", child.num_features), getattr(child, "act", None)
                # timm's batch norms may have the activation in them.
                layer = nn.Sequential(group, activation) if isinstance(activation, nn.Module) else group
                setattr(module, name, layer)
    if norm == "frozen":
        freeze_norms(backbone)
    return ADDED_NORM[norm]


def freeze_norms(backbone: nn.Module) -> None:
    """Make every batch norm use its running statistics; these and its weights no longer change in training."""
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            stay_in_eval(module)
            module.requires_grad_(False)

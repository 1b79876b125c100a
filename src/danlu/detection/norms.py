"""What becomes of batch norm in a detector: its images are large, its batches small, and their mean is noise."""

from __future__ import annotations

from torch import nn

from danlu.models.parts import norm_layer, stay_in_eval
from danlu.refuse import one_of

# Name -> normalisation of the layers that a detector adds to its backbone.
ADDED = {"batch": "batch", "group": "group", "frozen": "none"}


def set_norm(backbone: nn.Module, norm: str) -> str:
    """Changes the batch norms of a backbone in place, and names the normalisation of layers added to it.

    batch: as they are, from batches of 8 images on. group: group norms in their place, for networks that start from
    drawn weights (Wu & He 2018). frozen: they keep the statistics of published weights and are not trained.
    Refusal for an unknown name.
    """
    one_of("model.norm", norm, ADDED, "batch, group or frozen")
    for module in list(backbone.modules()) if norm == "group" else []:
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                group, activation = norm_layer("group", child.num_features), getattr(child, "act", None)
                # timm's batch norms may have the activation in them.
                layer = nn.Sequential(group, activation) if isinstance(activation, nn.Module) else group
                setattr(module, name, layer)
    if norm == "frozen":
        freeze_norms(backbone)
    return ADDED[norm]


def freeze_norms(backbone: nn.Module) -> None:
    """Every batch norm uses its running statistics, and neither these nor its weights change, also in training."""
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            stay_in_eval(module)
            module.requires_grad_(False)

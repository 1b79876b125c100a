"""How deep each parameter of a network lies, and which part of it is the head; the same questions for every network."""

from __future__ import annotations

from torch import nn

from danlu.models.backbone import Backbone
from danlu.models.library import timm_levels


def head_name(model: nn.Module) -> str:
    """The part that gives the outputs: the child `head`, else the last child that has parameters."""
    children = [name for name, child in model.named_children() if next(child.parameters(), None) is not None]
    return "head" if "head" in children else children[-1]


def levels(model: nn.Module) -> list[list[str]]:
    """Names of all parameters by depth, from the input to the outputs; the last level is that of the head.

    Ours: one level per stage (`Backbone.levels`). timm's: as timm groups them. Others: one level per child.
    """
    if hasattr(model, "group_matcher"):
        return timm_levels(model)
    if isinstance(model, Backbone):
        parts = model.levels()
    else:
        head = head_name(model)
        parts = [*((name,) for name, _ in model.named_children() if name != head), (head,)]
        parts[0] += tuple(name for name, _ in model.named_parameters(recurse=False))
    found: list[list[str]] = [[] for _ in parts]
    for name, _ in model.named_parameters():
        place = next((i for i, part in enumerate(parts) if any(within(name, one) for one in part)), -1)
        found[place].append(name)  # what no level names, such as auxiliary heads, goes with the head
    return [names for names in found if names]


def within(name: str, prefix: str) -> bool:
    """Whether a dotted name is `prefix` or lies below it: stage1.0.weight is within stage1, stage10 is not."""
    return name == prefix or name.startswith(prefix + ".")

"""Depth of each parameter of a network, and the name of its head, for networks of danlu, timm and torchvision."""

from __future__ import annotations

from torch import nn

from danlu.models.backbone import Backbone
from danlu.models.library import timm_levels


def head_name(model: nn.Module) -> str:
    """Return the name of the module that computes the outputs: `head`, else the last child with parameters."""
    children = [name for name, child in model.named_children() if next(child.parameters(), None) is not None]
    return "head" if "head" in children else children[-1]


def last_dense(model: nn.Module) -> str | None:
    """Return the name of the dense layer in the head that computes the outputs; None for networks without one."""
    if not any(True for child in model.children() if next(child.parameters(), None) is not None):
        return None
    head = head_name(model)
    dense = [name for name, one in model.get_submodule(head).named_modules() if isinstance(one, nn.Linear)]
    return f"{head}.{dense[-1]}".rstrip(".") if dense else None


def levels(model: nn.Module) -> list[list[str]]:
    """Return the names of all parameters grouped by depth, from the input to the head.

    Networks of danlu have one level per stage (`Backbone.levels`), timm's are grouped as timm groups them, others have
    one level per child module. A network on a backbone, such as a detector, has the backbone's levels and one for its
    other parameters.
    """
    if hasattr(model, "group_matcher"):
        return timm_levels(model)
    backbone = getattr(model, "backbone", None)
    if isinstance(backbone, Backbone):
        place = module_name(model, backbone)
        own = [name for name, _ in model.named_parameters() if not within(name, place)]
        return [*([f"{place}.{name}" for name in names] for names in levels(backbone)), own]
    if isinstance(model, Backbone):
        groups = model.levels()
    else:
        head = head_name(model)
        own = [name for name, _ in model.named_parameters(recurse=False)]
        first, *rest = [*(name for name, _ in model.named_children() if name != head), head]
        groups = [(first, *own), *((name,) for name in rest)]
    found: list[list[str]] = [[] for _ in groups]
    for name, _ in model.named_parameters():
        level = next((i for i, group in enumerate(groups) if any(within(name, prefix) for prefix in group)), -1)
        found[level].append(name)  # parameters outside all levels, such as auxiliary heads, join the head
    return [names for names in found if names]


def module_name(model: nn.Module, part: nn.Module) -> str:
    """Return the dotted name of a module of `model`; a network may give its backbone by a property."""
    return next(name for name, module in model.named_modules() if module is part)


def within(name: str, prefix: str) -> bool:
    """Return whether a dotted name is `prefix` or below it: stage1.0.weight is within stage1, stage10 is not."""
    return name == prefix or name.startswith(prefix + ".")

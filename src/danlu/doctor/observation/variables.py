"""Names that the code of the user gives to objects: variables and attributes in the frames that lead to this call."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

MAX_FRAMES = 24
OWN_PACKAGES = ("torch", "danlu")
MAX_NUMBERS = 10_000  # of a variable that is read


def name_in_frames(wanted: Any) -> str:
    """Variable or attribute that holds an object in the nearest frame of the user; empty if there is none."""
    return names_in_frames([wanted]).get(id(wanted), "")


def holder_in_frames(parameter: Any) -> str:
    """Variable or attribute that holds the module of a parameter in the nearest frame of the user; "" if none does."""
    frame = sys._getframe(1)
    for _ in range(MAX_FRAMES):
        if frame is None:
            break
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in OWN_PACKAGES:
            variables = [*frame.f_locals.items(), *_attributes(frame.f_locals.get("self")), *frame.f_globals.items()]
            for name, value in variables:
                if isinstance(value, nn.Module) and any(one is parameter for one in value.parameters()) and name:
                    return name
        frame = frame.f_back
    return ""


def names_in_frames(wanted: Iterable[Any]) -> dict[int, str]:
    """Names of several objects by id, as `name_in_frames` finds them."""
    missing, found = {id(one) for one in wanted}, {}
    frame = sys._getframe(1)
    for _ in range(MAX_FRAMES):
        if frame is None or not missing:
            break
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in OWN_PACKAGES:
            variables = [*frame.f_locals.items(), *frame.f_globals.items()]
            held = [(name, value) for name, value in variables if name != "self" and not name.startswith("_")]
            for name, value in [*held, *_items(held), *_attributes(frame.f_locals.get("self"))]:
                if id(value) in missing and name:
                    missing.discard(id(value))
                    found[id(value)] = name.lstrip("_")
        frame = frame.f_back
    return found


def numbers_in_frames(wanted: Callable[[str], bool]) -> Iterator[tuple[str, Tensor]]:
    """Names and values, float64 (n,), of the tensors, arrays and lists of numbers whose names are wanted.

    They are variables in the frames of the user, and attributes of the modules and objects in them.
    """
    frame, seen = sys._getframe(1), set()
    for _ in range(MAX_FRAMES):
        if frame is None:
            break
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in OWN_PACKAGES:
            held = [*frame.f_locals.items(), *frame.f_globals.items()]
            owners = [value for name, value in held if isinstance(value, nn.Module) or name == "self"]
            for owner in owners:
                held += list(vars(owner).items()) if hasattr(owner, "__dict__") else []
            for name, value in held:
                if wanted(name) and id(value) not in seen and (numbers := as_numbers(value)) is not None:
                    seen.add(id(value))
                    yield name, numbers
        frame = frame.f_back


def as_numbers(value: Any) -> Tensor | None:
    """Float64 copy (n,) of a tensor, an array or a list of numbers; None for anything else."""
    if isinstance(value, Tensor | np.ndarray):
        size = value.numel() if isinstance(value, Tensor) else value.size
        if size > MAX_NUMBERS:
            return None
        return torch.as_tensor(value).detach().flatten().cpu().double()
    if isinstance(value, list | tuple | deque) and 0 < len(value) <= MAX_NUMBERS:
        try:
            return torch.tensor([float(one) for one in value], dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError):
            return None
    return None


def _items(variables: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
    """Items of short lists, tuples and dicts."""
    for name, value in variables:
        if isinstance(value, list | tuple) and len(value) <= 100:
            yield from ((f"{name}[{index}]", item) for index, item in enumerate(value))
        elif type(value) is dict and len(value) <= 100:
            yield from ((f"{name}[{key!r}]", item) for key, item in value.items())


def _attributes(owner: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(owner, nn.Module):
        return owner.named_modules()
    return list(vars(owner).items()) if hasattr(owner, "__dict__") else ()

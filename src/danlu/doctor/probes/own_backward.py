"""Functions with a backward written by hand (torch.autograd.Function) whose gradient is not that of their forward.

Many such functions have another gradient on purpose: rounding with the gradient of the identity, gradients that are
reversed, scaled or clipped. They are left out: their forward is the identity, has few different values, or is at each
element constant or equal to the input.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import torch
from torch import Tensor
from torch.autograd import Function

from danlu.doctor.probes.mixing import NamedValue

MAX_FUNCTIONS = 4  # different ones of a model
MAX_ELEMENTS = 65_536  # of the arguments of a function
MIN_ELEMENTS = 8  # of its output, so that piecewise constant ones are recognised
DIRECTIONS = 3
STEP = 1e-4  # of the size of an argument
SMOOTH = 0.01  # relative difference of the slopes over a step and over half of it
WRONG = 0.1  # relative difference between a slope and that of backward()
MAX_SLOPE_ERROR = 1e-3  # of a slope to 0 or 1
DIFFERENT_VALUES = 0.25  # of the elements of an output; fewer are those of a quantisation


class OwnFunctions:
    """Collect the first call of each torch.autograd.Function outside torch while active."""

    def __init__(self) -> None:
        self.calls: dict[type, tuple] = {}

    def __enter__(self) -> Self:
        original = self._original = Function.__dict__["apply"]

        def apply(kind: type, *args: Any, **kwargs: Any) -> Any:
            if not kwargs and len(self.calls) < MAX_FUNCTIONS and not kind.__module__.startswith("torch."):
                self.calls.setdefault(kind, args)
            return original.__get__(None, kind)(*args, **kwargs)

        Function.apply = classmethod(apply)  # pyright: ignore[reportAttributeAccessIssue]
        return self

    def __exit__(self, *_: object) -> None:
        Function.apply = self._original


def own_backward(calls: dict[type, tuple]) -> Iterator[NamedValue]:
    """Yield probe.wrong_backward: relative difference between the slope of backward() and that of forward()."""
    for kind, args in calls.items():
        tensors = [a for a in args if isinstance(a, Tensor)]
        if sum(t.numel() for t in tensors) > MAX_ELEMENTS:
            continue
        try:
            found = _difference(kind, args)
        except Exception:  # the function refuses double precision, or the gradient of an argument
            continue
        if found is not None:
            yield "probe.wrong_backward", found, kind.__name__


def _difference(kind: Any, args: tuple) -> float | None:
    """Largest relative difference over the arguments; None where the function is no smooth function of them."""
    args = tuple(_copy(a) if isinstance(a, Tensor) else a for a in args)
    places = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.is_floating_point()]
    with torch.enable_grad():
        leaves = [args[i].clone().requires_grad_() for i in places]
        output = _first(kind.apply(*_with(args, places, leaves)))
        if output is None or output.grad_fn is None or output.numel() < MIN_ELEMENTS:
            return None
        weights = [_wave(output, n) for n in range(DIRECTIONS)]
        gradients = [
            torch.autograd.grad((output * w).sum(), leaves, allow_unused=True, retain_graph=True) for w in weights
        ]
    if output.detach().abs().unique().numel() < DIFFERENT_VALUES * output.numel():
        return None
    found = [
        _of_argument(kind, args, place, weights, [each[n] for each in gradients]) for n, place in enumerate(places)
    ]
    known = [one for one in found if one is not None]
    return max(known, default=None)


def _of_argument(kind: Any, args: tuple, place: int, weights: list[Tensor], gradients: list[Any]) -> float | None:
    """Smallest relative difference over several directions, each with other weights of the outputs."""
    value, found = args[place], []
    for n, (weight, gradient) in enumerate(zip(weights, gradients)):
        if gradient is None:
            return None
        direction, step = _wave(value, n + DIRECTIONS), STEP * max(float(value.abs().mean()), STEP)

        def slope(size: float, direction: Tensor = direction) -> Tensor:
            ends = [_first(kind.apply(*_with(args, [place], [value + d * direction]))) for d in (size, -size)]
            return (ends[0] - ends[1]) / (2 * size)  # pyright: ignore[reportOperatorIssue]

        whole = slope(step)
        if _is_straight(whole, direction):
            return None
        numeric, half = ((each * weight).sum() for each in (whole, slope(step / 2)))
        told = (gradient * direction).sum()
        size = max(float(numeric.abs()), float(told.abs()))
        if size == 0 or float((numeric - half).abs()) > SMOOTH * size:
            return None
        found.append(float((numeric - told).abs()) / size)
    return min(found)


def _copy(tensor: Tensor) -> Tensor:
    """Copy of an argument, in double precision where it is real: a forward may write to its arguments."""
    copied = tensor.detach().clone()
    return copied.double() if copied.is_floating_point() else copied


def _is_straight(slope: Tensor, direction: Tensor) -> bool:
    """Return whether each element of the output stays as it is, or follows its element of the input."""
    if slope.shape != direction.shape:
        return not bool(slope.any())
    ratio = slope / direction
    return bool(((ratio.abs() < MAX_SLOPE_ERROR) | ((ratio - 1).abs() < MAX_SLOPE_ERROR)).all())


def _with(args: tuple, places: list[int], values: list[Tensor]) -> tuple:
    changed = dict(zip(places, values))
    return tuple(changed.get(i, a) for i, a in enumerate(args))


def _first(outputs: Any) -> Tensor | None:
    if isinstance(outputs, tuple):
        outputs = next((one for one in outputs if isinstance(one, Tensor)), None)
    return outputs if isinstance(outputs, Tensor) and outputs.is_floating_point() else None


def _wave(like: Tensor, number: int) -> Tensor:
    """Values of about 1 in irregular order, the same each time, none of which is near 0."""
    angles = torch.arange(like.numel(), device=like.device, dtype=torch.float64) * (2**0.5 + number)
    return (angles.cos() + torch.where(angles.cos() < 0, -0.5, 0.5)).reshape(like.shape).to(like.dtype)

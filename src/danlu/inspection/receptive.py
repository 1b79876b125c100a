"""Receptive fields, propagated through every tensor operation.

Per image axis, position i of a map depends on the pixels start + i jump ... start + i jump + size - 1. A kernel of
size k with dilation d, stride s and padding p changes these to

    size + d (k - 1) jump,    start - p jump,    s jump.

Joined branches have the union of their receptive fields. Sums over positions (global pooling, a dense layer on a map,
attention) have the union over these positions. Statistics of normalisation layers are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


@dataclass(frozen=True)
class Span:
    """Receptive field of the positions of a map along one image axis, in pixels.

    Args:
        start: First pixel of position 0, negative in the padding.
        size: Pixels.
        jump: Pixels from one position to the next; 0 if all positions share one field.
        count: Number of positions.
    """

    start: float
    size: float
    jump: float
    count: int

    def window(self, kernel: int, stride: int, padding: int, dilation: int, count: int) -> Span:
        """Apply a convolution or pooling window with `count` output positions."""
        growth = dilation * (kernel - 1) * self.jump
        return Span(self.start - padding * self.jump, self.size + growth, self.jump * stride, count)

    def spread(self, kernel: int, stride: int, padding: int, count: int) -> Span:
        """Apply a transposed convolution: a position depends on at most ceil(k / s) neighbours."""
        neighbours = -(-kernel // stride)
        start = self.start - (neighbours - 1 - padding // stride) * self.jump
        return Span(start, self.size + (neighbours - 1) * self.jump, self.jump / stride, count)

    def gathered(self) -> Span:
        """Return the union over all positions."""
        return Span(self.start, self.size + (self.count - 1) * self.jump, 0, 1)

    def joined(self, other: Span) -> Span:
        """Return the union with another branch."""
        if (self.jump == 0) != (other.jump == 0):  # one field covers all positions, so the union does too
            return self.gathered().joined(other.gathered())
        start = min(self.start, other.start)
        end = max(self.start + self.size, other.start + other.size)
        return Span(start, end - start, max(self.jump, other.jump), max(self.count, other.count))


@dataclass(frozen=True)
class ReceptiveField:
    """Receptive field of a tensor.

    Args:
        spans: One per image axis; none for rows of numbers.
        along: Per dimension of the tensor, whether the field moves along it.
        depth: Convolutions and dense layers on the longest path from the input.
    """

    spans: tuple[Span, ...]
    along: tuple[bool, ...]
    depth: int = 0

    def gathered(self) -> ReceptiveField:
        """Return the union over all positions."""
        return replace(self, spans=tuple(span.gathered() for span in self.spans))


def image_view(shape: Sequence[int]) -> ReceptiveField:
    """Return the view of the input: images (N, C, H, W), also with fewer or more axes, or rows (N, D)."""
    return ReceptiveField(tuple(Span(0, 1, 1, n) for n in shape[2:]), (False, False, *(True for _ in shape[2:])))


class ReceptiveFields:
    """Views of all tensors traced so far."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Tensor, ReceptiveField]] = {}  # id -> tensor (kept alive: ids are reused)

    def get(self, tensor: Any) -> ReceptiveField | None:
        """Return the view of a tensor; None if it does not depend on the input."""
        return self._known.get(id(tensor), (None, None))[1]

    def set(self, tensor: Tensor, view: ReceptiveField) -> None:
        """Store the view of a tensor."""
        self._known[id(tensor)] = (tensor, view)

    def follow(self, op: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> bool:
        """Derive and store the view of `out = op(*args)`. Return False if it does not depend on the input."""
        sources = [(t, view) for t in tensors([*args, *kwargs.values()]) if (view := self.get(t)) is not None]
        outputs = list(tensors([out]))
        if not sources or not outputs:
            return False
        rule = RULES.get(op.overloadpacket, _pointwise)
        for output in outputs:
            if not any(output is t for t, _ in sources):  # in place: unchanged
                self.set(output, rule(self, args, sources, output))
        return True


def tensors(values: Any) -> Iterator[Tensor]:
    """Iterate over the tensors in nested lists and tuples."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors(value)


Sources = list[tuple[Tensor, ReceptiveField]]


def _merged(sources: Sources) -> ReceptiveField:
    """Return the union of the sources."""
    view = sources[0][1]
    for _, other in sources[1:]:
        spans = tuple(a.joined(b) for a, b in zip(view.spans, other.spans)) or view.spans or other.spans
        view = ReceptiveField(spans, view.along, max(view.depth, other.depth))
    return view


def _pointwise(views: ReceptiveFields, args: Sequence[Any], sources: Sources, out: Tensor) -> ReceptiveField:
    """Rule of elementwise operations with broadcasting, of concatenation, and of operations without their own rule."""
    along = [False] * out.ndim
    for tensor, view in sources:
        if tensor.ndim > out.ndim:
            return replace(_merged(sources), along=tuple(n > 1 for n in out.shape))
        for i, moves in enumerate(view.along, out.ndim - tensor.ndim):
            along[i] |= moves
    return replace(_merged(sources), along=tuple(along))


def _windows(views: ReceptiveFields, sources: Sources, out: Tensor, *settings: Any) -> ReceptiveField:
    """Rule of sliding windows. settings: kernel, stride, padding, dilation, each one number or one per axis."""
    view = sources[0][1]
    axes = len(view.spans)
    if axes == 0 or out.ndim < axes + 1:
        return replace(view, along=tuple(n > 1 for n in out.shape))
    per_axis = zip(*(_each(setting, axes) for setting in settings), out.shape[-axes:])
    spans = tuple(span.window(*numbers) for span, numbers in zip(view.spans, per_axis))
    moves = tuple(n > 1 for n in out.shape[-axes:])
    return ReceptiveField(spans, (False,) * (out.ndim - axes) + moves, view.depth)


def _each(setting: Any, axes: int) -> list[int]:
    values = list(setting) if isinstance(setting, list | tuple) else [setting]
    return values * axes if len(values) == 1 else values


def _convolution(views: ReceptiveFields, args: Sequence[Any], sources: Sources, out: Tensor) -> ReceptiveField:
    weight, stride, padding, dilation, transposed = args[1], *args[3:7]
    kernel = list(weight.shape[2:])
    view = sources[0][1]
    deeper = view.depth + 1
    if len(kernel) != len(view.spans):
        return replace(_pointwise(views, args, sources[:1], out), depth=deeper)
    if transposed:
        numbers = zip(kernel, stride, padding, out.shape[2:])
        spans = tuple(span.spread(*row) for span, row in zip(view.spans, numbers))
        return ReceptiveField(spans, image_view(out.shape).along, deeper)
    return replace(_windows(views, sources[:1], out, kernel, stride, padding, dilation), depth=deeper)


def _max_pool(views: ReceptiveFields, args: Sequence[Any], sources: Sources, out: Tensor) -> ReceptiveField:
    kernel, stride, padding, dilation, _ = (*args[1:], *([], 0, 1, False)[len(args) - 2 :])
    return _windows(views, sources, out, kernel, stride or kernel, padding, dilation)


def _average_pool(views: ReceptiveFields, args: Sequence[Any], sources: Sources, out: Tensor) -> ReceptiveField:
    kernel, stride, padding = (*args[1:4], *([], 0)[len(args[1:4]) - 1 :])
    return _windows(views, sources, out, kernel, stride or kernel, padding, 1)


def _adaptive_pool(views: ReceptiveFields, args: Sequence[Any], sources: Sources, out: Tensor) -> ReceptiveField:
    """Rule of pooling from n to m positions: windows of n / m, or of the ceiling plus one if that is no integer."""
    view = sources[0][1]
    axes = len(view.spans)
    before, after = args[0].shape[-axes:], out.shape[-axes:]
    kernel = [n // m if n % m == 0 else -(-n // m) + 1 for n, m in zip(before, after)]
    pooled = _windows(views, sources, out, kernel, [max(n // m, 1) for n, m in zip(before, after)], 0, 1)
    spans = tuple(replace(s, jump=0) if m == 1 else s for s, m in zip(pooled.spans, after))
    return replace(pooled, spans=spans)


def _reduction(views: ReceptiveFields, args: Sequence[Any], sources: Sources, out: Tensor) -> ReceptiveField:
    """Rule of sums and means over dimensions: the union over positions if these are reduced."""
    tensor, view = sources[0]
    given = args[1] if len(args) > 1 and args[1] is not None and args[1] != [] else list(range(tensor.ndim))
    gone = {d % tensor.ndim for d in _each(given, 1)}
    if any(view.along[d] for d in gone):
        view = view.gathered()
    along = [a and d not in gone for d, a in enumerate(view.along)]
    if out.ndim < tensor.ndim:
        along = [a for d, a in enumerate(along) if d not in gone]
    return replace(view, along=tuple(along))


def _product(first: int) -> Callable[[ReceptiveFields, Sequence[Any], Sources, Tensor], ReceptiveField]:
    """Make the rule of matrix products of args[first] and args[first + 1]."""

    def rule(views: ReceptiveFields, args: Sequence[Any], sources: Sources, out: Tensor) -> ReceptiveField:
        left, right = views.get(args[first]), views.get(args[first + 1])
        view = _merged(sources)
        if (left and left.along[-1]) or (right and right.along[-2]):
            view = view.gathered()
        rows = left.along[:-1] if left else (False,) * (out.ndim - 1)
        along = (*rows, bool(right and right.along[-1]))
        both = left is not None and right is not None  # attention; otherwise one of them is a weight
        return replace(view, along=along, depth=view.depth + (not both))

    return rule


def _attention(views: ReceptiveFields, args: Sequence[Any], sources: Sources, out: Tensor) -> ReceptiveField:
    return replace(_pointwise(views, args, sources[:1], out), spans=_merged(sources).gathered().spans)


def _permuted(views: ReceptiveFields, args: Sequence[Any], sources: Sources, out: Tensor) -> ReceptiveField:
    tensor, view = sources[0]
    if len(args) == 1:  # t
        order = list(range(tensor.ndim))[::-1]
    elif isinstance(args[1], int):  # transpose
        order = list(range(tensor.ndim))
        order[args[1]], order[args[2]] = order[args[2]], order[args[1]]
    else:
        order = list(args[1])
    return replace(view, along=tuple(view.along[d] for d in order))


def _reshaped(views: ReceptiveFields, args: Sequence[Any], sources: Sources, out: Tensor) -> ReceptiveField:
    """Rule of reshapes: dimensions are matched in groups of equal product; a group moves if any member did."""
    tensor, view = sources[0]
    along = [False] * out.ndim
    i = j = 0
    while i < tensor.ndim and j < out.ndim:
        start, first = i, j
        before, after = tensor.shape[i], out.shape[j]
        i, j = i + 1, j + 1
        while before != after and (i < tensor.ndim or j < out.ndim):
            if before < after and i < tensor.ndim:
                before, i = before * tensor.shape[i], i + 1
            elif j < out.ndim:
                after, j = after * out.shape[j], j + 1
            else:
                break
        moves = any(a and n > 1 for a, n in zip(view.along[start:i], tensor.shape[start:i]))
        for d in range(first, j):
            along[d] = moves and out.shape[d] > 1
    return replace(view, along=tuple(along))


def _selected(views: ReceptiveFields, args: Sequence[Any], sources: Sources, out: Tensor) -> ReceptiveField:
    tensor, view = sources[0]
    gone = args[1] % tensor.ndim if len(args) > 1 else 0
    return replace(view, along=tuple(a for d, a in enumerate(view.along) if d != gone))


def _sliced(views: ReceptiveFields, args: Sequence[Any], sources: Sources, out: Tensor) -> ReceptiveField:
    """Rule of slices: every step-th position from start on, if the dimension is an axis of a map."""
    tensor, view = sources[0]
    settings: tuple[Any, ...] = (*args[1:], *(0, None, None, 1)[len(args) - 1 :])
    dim, start, _, step = settings
    axis = dim % tensor.ndim - 2
    if axis < 0 or tensor.ndim != len(view.spans) + 2:
        return view
    span = view.spans[axis]
    begin = (start or 0) % tensor.shape[dim] if (start or 0) < 0 else (start or 0)
    moved = Span(span.start + begin * span.jump, span.size, span.jump * step, out.shape[dim])
    return replace(view, spans=(*view.spans[:axis], moved, *view.spans[axis + 1 :]))


RULES: dict[Any, Callable[[ReceptiveFields, Sequence[Any], Sources, Tensor], ReceptiveField]] = {
    aten.convolution: _convolution,
    aten._convolution: _convolution,
    aten.max_pool2d_with_indices: _max_pool,
    aten.avg_pool2d: _average_pool,
    aten.avg_pool1d: _average_pool,
    aten._adaptive_avg_pool2d: _adaptive_pool,
    aten.adaptive_max_pool2d: _adaptive_pool,
    **dict.fromkeys((aten.mean, aten.sum, aten.amax, aten.amin, aten.logsumexp), _reduction),
    aten.mm: _product(0),
    aten.bmm: _product(0),
    aten.addmm: _product(1),
    aten.baddbmm: _product(1),
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention: _attention,
    aten._scaled_dot_product_efficient_attention: _attention,
    aten._scaled_dot_product_cudnn_attention: _attention,
    **dict.fromkeys((aten.t, aten.transpose, aten.permute), _permuted),
    **dict.fromkeys((aten.view, aten._unsafe_view, aten.unsqueeze, aten.squeeze, aten.reshape), _reshaped),
    aten.select: _selected,
    aten.unbind: _selected,
    aten.slice: _sliced,
}


def seen(span: Span, pixels: int) -> int:
    """Return the receptive field in pixels: by the formula for a map, clipped to the image for a single position."""
    if span.jump:
        return math.ceil(span.size)
    return math.ceil(min(span.start + span.size, pixels) - max(span.start, 0))

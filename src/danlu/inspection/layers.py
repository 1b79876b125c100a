"""A network run once on tensors without numbers: what each layer gives, holds and costs.

The run takes place on torch's meta device: shapes are worked out and nothing is computed, so that the largest network
takes a fraction of a second and no memory. Every tensor operation is seen, so that functions called in a `forward`
(attention, addition, concatenation) are counted like layers; fused kernels that hide their parts are switched off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from danlu.inspection.costs import Costs
from danlu.inspection.receptive import View, Views, image_view, seen, tensors


@dataclass
class Layer:
    """One unbroken stretch of operations of one module: a layer's call, or what a block does between its parts.

    name: the module's place. kind: its class. detail: kernel and stride, or what a block does ("add", "attention").
    output: shape of one sample's output. parameters: counted where they are first used. multiply_adds: per sample.
    activation_bytes: of the output of one sample; 0 where it is written over the input or is a view of it.
    receptive_field, jump: pixels per axis of the image; None for rows of numbers, the jump also where all positions
        see the same, or there is one only.
    used: False for layers that this run did not reach (auxiliary heads outside training).
    """

    name: str
    kind: str
    detail: str = ""
    output: tuple[int, ...] = ()
    parameters: int = 0
    multiply_adds: int = 0
    activation_bytes: int = 0
    receptive_field: tuple[int, ...] | None = None
    jump: tuple[float, ...] | None = None
    used: bool = True
    operations: list[str] = field(default_factory=list, repr=False)


@dataclass(frozen=True)
class Traced:
    """layers: in the order of computation. depth: convolutions and dense layers on the longest way through."""

    layers: list[Layer]
    depth: int

    def total(self, what: str) -> int:
        return sum(getattr(layer, what) for layer in self.layers)


def trace(model: nn.Module, sample: Tensor) -> Traced:
    """Run `model` in eval mode on the shape of `sample` (1, ...): nothing of the model is changed.

    Networks that read the numbers of their tensors while they run cannot be run without; they are run in earnest.
    Whatever the network itself raises on an input that it cannot take is passed on.
    """
    with in_mode(model, training=False), torch.no_grad():
        try:
            return _Tracer(model).run(sample.to("meta"), lambda x: functional_call(model, weightless(model), (x,)))
        except (RuntimeError, NotImplementedError, TypeError):
            device = next(model.parameters(), sample).device
            if device.type == "meta":
                raise
            return _Tracer(model).run(sample.to(device), model)


def weightless(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers on the meta device; single numbers (step counters) as copies that can still be read."""

    def emptied(tensor: Tensor) -> Tensor:
        copy = tensor.detach().clone() if tensor.ndim == 0 else torch.empty_like(tensor, device="meta")
        return copy.requires_grad_(tensor.requires_grad)

    return {name: emptied(t) for name, t in [*model.named_parameters(), *model.named_buffers()]}


@contextmanager
def in_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Train or eval mode inside, every module's own mode afterwards; attention without its fused inference path."""
    before = [(module, module.training) for module in model.modules()]
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    model.train(training)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for module, mode in before:
            module.training = mode


class _Tracer(TorchDispatchMode):
    """Sees every operation, and knows from hooks to which module it belongs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.names = {m: name for name, m in model.named_modules() if "parametrizations" not in name.split(".")}
        self.costs, self.views = Costs(), Views()
        self.layers: list[Layer] = []
        self.stack: list[nn.Module] = []
        self.parents: set[nn.Module] = set()  # modules that have called others
        self.unclaimed = {m: _own_numbers(model, name) for m, name in self.names.items()}

    def run(self, x: Tensor, call: Callable[[Tensor], Any]) -> Traced:
        self.pixels = tuple(x.shape[2:])
        self.views.set(x, image_view(x.shape))
        self._open(self.model)
        hooks = [m.register_forward_pre_hook(self._enter) for m in self.names]
        hooks += [m.register_forward_hook(self._leave) for m in self.names]
        try:
            with self:
                out = call(x)
        finally:
            for hook in hooks:
                hook.remove()
        self._add_unused()
        depths = [view.depth for t in _tensors_in(out) if (view := self.views.get(t)) is not None]
        return Traced(self.layers, max(depths, default=0))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.layer.multiply_adds += self.costs.of(func, args, out)
        if self.views.follow(func, args, kwargs or {}, out):
            self.last = next(tensors([out]))
            if all(value.alias_info is None for value in func._schema.returns):
                self.made.add(_storage(self.last))
                self.layer.operations.append(func.overloadpacket.__name__)
        return out

    def _open(self, module: nn.Module) -> None:
        self.layer = Layer(self.names[module] or "(network)", type(module).__name__)
        self.made: set[int] = set()  # storages of tensors that this stretch has made
        self.last: Tensor | None = None

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        if self.stack:
            self._close(self.stack[-1])
            self.parents.add(self.stack[-1])
        self.stack.append(module)
        self._open(module)

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if module not in self.parents and self.last is None:  # a layer that does nothing here, as dropout in use
            self.last = next(iter(_tensors_in(output)), None)
        self._close(module)
        self.stack.pop()
        if self.stack:
            self._open(self.stack[-1])

    def _close(self, module: nn.Module) -> None:
        """File the stretch, unless it is empty: a container's way from one part to the next."""
        layer, leaf = self.layer, module not in self.parents and not self._has_parts(module)
        if not (layer.operations or layer.multiply_adds or (leaf and not isinstance(module, nn.Identity))):
            return
        layer.parameters = self._claim(module)
        layer.detail = describe(module) if leaf else _deeds(layer.operations)
        if self.last is not None:
            layer.output = tuple(self.last.shape[1:])
            if _storage(self.last) in self.made:
                layer.activation_bytes = self.last.numel() * self.last.element_size()
            view = self.views.get(self.last)
            if view is not None and view.spans:
                layer.receptive_field = tuple(seen(s, n) for s, n in zip(view.spans, self.pixels))
                moves = any(view.along) and all(span.jump for span in view.spans)
                layer.jump = tuple(_plain(span.jump) for span in view.spans) if moves else None
        self.layers.append(layer)

    def _has_parts(self, module: nn.Module) -> bool:
        return any(child in self.names for child in module.children())

    def _claim(self, module: nn.Module) -> int:
        """Parameters of `module` itself, the first time that it is met."""
        return self.unclaimed.pop(module, 0)

    def _add_unused(self) -> None:
        """Parameters of modules that were never called: used by their parent's own operations, or not at all."""
        rows = {layer.name: layer for layer in self.layers}
        for module, name in self.names.items():
            count = self._claim(module)
            if not count:
                continue
            parent = rows.get(name.rpartition(".")[0] or "(network)")
            owner = rows.get(name or "(network)", parent if parent is not None and parent.multiply_adds else None)
            if owner is None:
                self.layers.append(Layer(name, type(module).__name__, describe(module), used=False, parameters=count))
            else:
                owner.parameters += count


def _own_numbers(model: nn.Module, name: str) -> int:
    """Numbers in a module's own parameters and its parametrisations'; shared ones count where they come first."""
    inside = f"{name}." if name else ""
    own = (n.removeprefix(inside) for n, _ in model.named_parameters() if n.startswith(inside))
    wanted = {inside + n for n in own if "." not in n or n.startswith("parametrizations.")}
    return sum(p.numel() for n, p in model.named_parameters() if n in wanted)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _tensors_in(value: Any) -> Iterator[Tensor]:
    """Tensors of a network's output: a tensor, or tuples, lists and dictionaries of them."""
    return tensors(value.values() if isinstance(value, Mapping) else [value])


def _plain(number: float) -> float:
    return int(number) if number == int(number) else number


def describe(module: nn.Module) -> str:
    """A layer's settings in few words: "3x3, stride 2, 2 groups"."""
    kernel = _sides(getattr(module, "kernel_size", None))
    if not kernel:
        return "in place" if getattr(module, "inplace", False) else ""
    words = [kernel]
    stride = _sides(getattr(module, "stride", 1))
    words += [f"stride {stride}"] if stride not in ("1", "1x1") else []
    for name, word in (("dilation", "dilation"), ("groups", "groups")):
        value = getattr(module, name, 1)
        value = value[0] if isinstance(value, Sequence) else value
        words += [f"{word} {value}"] if value != 1 else []
    return ", ".join(words).replace("stride 2x2", "stride 2").replace("stride 4x4", "stride 4")


def _sides(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Sequence):
        return "x".join(map(str, value))
    return f"{value}x{value}" if value != 1 else "1"


DEEDS = {
    "cat": "concatenate", "add": "add", "add_": "add", "bmm": "attention", "mul": "multiply",
    "constant_pad_nd": "pad", "mean": "mean",
}  # fmt: skip


def _deeds(operations: Sequence[str]) -> str:
    """What a block does between its parts."""
    words = dict.fromkeys(DEEDS.get(op, "attention" if "attention" in op else "") for op in operations)
    if "attention" in words:
        return "attention"
    return ", ".join(word for word in words if word)


__all__ = ["Layer", "Traced", "View", "describe", "in_mode", "trace", "weightless"]

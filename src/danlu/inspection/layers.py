"""Trace a network once on tensors without data: output shape, parameters and cost of each layer.

The trace runs on torch's meta device, which computes shapes only, so that the largest network takes a fraction of a
second and no memory. Every tensor operation is intercepted, so that functions called in a `forward` (attention,
addition, concatenation) are counted like layers. Fused kernels that hide their operations are disabled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from danlu.inspection.costs import Costs
from danlu.inspection.receptive import ReceptiveFields, image_view, seen, tensors


@dataclass
class Layer:
    """Consecutive operations of one module: the call of a layer, or a block's operations between its submodules.

    Args:
        name: Dotted name of the module.
        kind: Its class name.
        detail: Kernel and stride, or the operation of a block ("add", "attention").
        output: Shape of one sample's output.
        parameters: Counted where they are first used.
        multiply_adds: Per sample.
        activation_bytes: Size of one sample's output; 0 for in-place operations and views.
        receptive_field: Pixels per image axis; None for rows of numbers.
        jump: Pixels between neighbouring positions, per image axis; None also if all positions see the same pixels.
        used: False for layers that the trace did not reach (auxiliary heads outside training).
        operations: Names of the traced operations.
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
    """Result of `trace`.

    Args:
        layers: In order of computation.
        depth: Number of convolutions and dense layers on the longest path.
    """

    layers: list[Layer]
    depth: int

    def total(self, field: str) -> int:
        """Sum a numeric field of `Layer`, such as "multiply_adds", over all layers."""
        return sum(getattr(layer, field) for layer in self.layers)


def trace(model: nn.Module, sample: Tensor) -> Traced:
    """Trace `model` in eval mode on the shape of `sample` (1, ...). The model is not changed.

    Networks whose forward pass depends on tensor values cannot run on the meta device; they run on their own device.
    Exceptions of the network on an unsuitable input are passed on.
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
    """Return parameters and buffers on the meta device; scalars (step counters) are copied and stay readable."""

    def without_data(tensor: Tensor) -> Tensor:
        copy = tensor.detach().clone() if tensor.ndim == 0 else torch.empty_like(tensor, device="meta")
        return copy.requires_grad_(tensor.requires_grad)

    return {name: without_data(t) for name, t in [*model.named_parameters(), *model.named_buffers()]}


@contextmanager
def in_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Set train or eval mode, without the fused attention path; restore the mode of every module afterwards."""
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
    """Intercepts every operation; hooks record the module it belongs to."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.names = {m: name for name, m in model.named_modules() if "parametrizations" not in name.split(".")}
        self.costs, self.views = Costs(), ReceptiveFields()
        self.layers: list[Layer] = []
        self.stack: list[nn.Module] = []
        self.parents: set[nn.Module] = set()  # modules that called submodules
        counts = _own_parameters(model)
        self.unclaimed = {m: counts[name] for m, name in self.names.items()}

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
        self.made: set[int] = set()  # storages of tensors made by the current layer
        self.last: Tensor | None = None

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        if self.stack:
            self._close(self.stack[-1])
            self.parents.add(self.stack[-1])
        self.stack.append(module)
        self._open(module)

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if module not in self.parents and self.last is None:  # a layer without operations, as dropout in evaluation
            self.last = next(iter(_tensors_in(output)), None)
        self._close(module)
        self.stack.pop()
        if self.stack:
            self._open(self.stack[-1])

    def _close(self, module: nn.Module) -> None:
        """Append the current layer, unless it is empty (a container between two submodules)."""
        layer, leaf = self.layer, module not in self.parents and not self._has_children(module)
        if not (layer.operations or layer.multiply_adds or (leaf and not isinstance(module, nn.Identity))):
            return
        layer.parameters = self._claim(module)
        layer.detail = describe(module) if leaf else _describe_operations(layer.operations)
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

    def _has_children(self, module: nn.Module) -> bool:
        return any(child in self.names for child in module.children())

    def _claim(self, module: nn.Module) -> int:
        """Return the number of the module's own parameters on its first call, else 0."""
        return self.unclaimed.pop(module, 0)

    def _add_unused(self) -> None:
        """Add the parameters of modules that were never called: used by their parent's operations, or unused."""
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


def _own_parameters(model: nn.Module) -> Counter[str]:
    """Count the parameters of each module itself and of its parametrisations, by its name; shared ones count once."""
    counts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        owner, parametrised, _ = name.partition("parametrizations.")
        counts[owner.removesuffix(".") if parametrised else name.rpartition(".")[0]] += parameter.numel()
    return counts


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _tensors_in(value: Any) -> Iterator[Tensor]:
    """Iterate over the tensors in a network's output: a tensor, or tuples, lists and dictionaries of them."""
    return tensors(value.values() if isinstance(value, Mapping) else [value])


def _plain(number: float) -> float:
    """Return an integer if the number is integral."""
    return int(number) if number == int(number) else number


def describe(module: nn.Module) -> str:
    """Describe the settings of a layer: "3x3, stride 2, groups 2"."""
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


OPERATION_LABELS = {
    "cat": "concatenate", "add": "add", "add_": "add", "bmm": "attention", "mul": "multiply",
    "constant_pad_nd": "pad", "mean": "mean",
}  # fmt: skip


def _describe_operations(operations: Sequence[str]) -> str:
    """Describe the operations of a block between its submodules: "add", "attention"."""
    words = dict.fromkeys(OPERATION_LABELS.get(op, "attention" if "attention" in op else "") for op in operations)
    if "attention" in words:
        return "attention"
    return ", ".join(word for word in words if word)


__all__ = ["Layer", "Traced", "describe", "in_mode", "trace", "weightless"]

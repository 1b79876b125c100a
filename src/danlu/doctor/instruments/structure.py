"""Structure of the model, recorded once, at the first training pass and the first steps."""

from __future__ import annotations

import contextlib
import sys
import weakref
from typing import Any

import torch
from torch import Tensor, nn

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.instruments.initial_weights import is_initial
from danlu.doctor.loss.graph import (
    BATCH_NORM,
    LINEAR,
    REARRANGING,
    behind,
    consumers,
    is_constant_product,
    last_activation,
)
from danlu.doctor.observation.budget import FREE_STEPS
from danlu.doctor.observation.watched_model import Pass, WatchedModel

LINEAR_LAYERS = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd)
BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)
NORMS = (*BATCH_NORMS, nn.modules.instancenorm._InstanceNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
DROPOUTS = (nn.modules.dropout._DropoutNd,)


class Structure(Instrument):
    """Write parameter.*, layer.* and norm.*"""

    name = "structure"
    kept = ("done", "_had_gradient", "_reached_written")

    def start(self, watched: WatchedModel) -> None:
        owners = {
            id(p): (name, module)
            for name, module in watched.inner.named_modules(prefix=watched.prefix)
            for p in module.parameters(recurse=False)
        }
        for order, (name, p) in enumerate(watched.parameters.items()):
            layer, module = owners.get(id(p), ("", watched.inner))
            watched.write("parameter.order", order, name, 0)
            watched.write("parameter.size", p.numel(), name, 0)
            watched.write("parameter.shape", list(p.shape), name, 0)
            watched.write("parameter.layer", layer, name, 0)
            watched.write("parameter.role", role(module, name), name, 0)
            values = p.detach().float()
            if p.numel():
                watched.write("parameter.mean", float(values.mean()), name, 0)
                watched.write("parameter.std", float(values.std(unbiased=False)), name, 0)
                watched.write(
                    "parameter.constant", int(p.numel() > 1 and bool((values == values.flatten()[0]).all())), name, 0
                )
        mode_layers = [m for m in watched.leaves.values() if depends_on_mode(m)]
        watched.write("loop.mode_matters", int(bool(mode_layers)), step=0)
        self.done = False
        self._calls: list[_Call] = []
        self._made: dict[int, tuple[weakref.ref, _Call]] = {}  # id of the output of a layer -> the output and the call
        self._recurrent: dict[str, list] = {}  # recurrent modules: kind and number of time steps
        self._handles: list[Any] = []
        self._had_gradient: dict[str, bool] = {}
        self._stale: dict[str, tuple[int, int]] = {}  # gradients that frozen parameters had before: id and version
        self._reached_written = False
        self._lent: tuple[nn.Module, str, Tensor] | None = next(
            ((m, name, p) for m in watched.inner.modules() for name, p in m._parameters.items() if p is not None), None
        )  # a module, the name of a parameter, and the parameter
        self._shared: dict[Any, int] = {}  # autograd node -> number of consumers

    def before_forward(self, watched: WatchedModel, call: Pass) -> None:
        self._note_lent_weights(watched)
        if self.done or not call.grad or watched.compiled:
            return
        self._remove()
        self._calls, self._made = [], {}
        for name, module in watched.leaves.items():
            self._handles.append(watched.observe_outputs(self.name, module, self._hook(watched, name)))

    def _note_lent_weights(self, watched: WatchedModel) -> None:
        """Record a parameter that torch.func.functional_call puts in the place of the model's own."""
        if self._lent is None or watched.compiled:
            return
        module, name, own = self._lent
        used = module._parameters.get(name)
        if used is not None and used is not own and watched.ledger.last("run.lent_weights") != 2:
            with contextlib.suppress(Exception):  # as within vmap, where a tensor has no single value
                total = float(used.detach().double().abs().sum())
                before = watched.ledger.last("run.lent_sum")
                watched.write("run.lent_sum", total)
                watched.write("run.lent_weights", 2 if before not in (None, total) else 1)

    def _hook(self, watched: WatchedModel, name: str) -> Any:
        def hook(module: nn.Module, args: tuple, output: Any) -> None:
            given = next((a for a in args if isinstance(a, Tensor)), None)
            if isinstance(module, nn.RNNBase) and given is not None and given.dim() == 3:
                length = given.shape[1 if module.batch_first else 0]
                self._recurrent[name] = [type(module).__name__, int(length)]
            if not self._calls and given is not None and isinstance(module, LINEAR_LAYERS):
                self._write_numbers(watched, given)
            if isinstance(output, Tensor) and given is not None:
                known, before = self._made.get(id(given), (None, None))
                call = _Call(name, module, given, output, before if known and known() is given else None)
                self._calls.append(call)
                self._made[id(output)] = weakref.ref(output), call

        return hook

    def _write_numbers(self, watched: WatchedModel, given: Tensor) -> None:
        """Record the scale of integers that the first layer is given as numbers: bytes, or numbers of items."""
        integers = "int" in str(watched.ledger.last("input.dtype")) and given.is_floating_point()
        if integers and given.grad_fn is None and given.numel() > 1:
            values = given.detach().float()
            watched.write("input.as_numbers", [float(values.mean()), float(values.std(correction=0))])

    def after_forward(self, watched: WatchedModel, call: Pass, outputs: Any) -> None:
        if self._handles and not self._calls and has_parts(watched) and has_compiled():
            watched.mark_compiled()  # no hook was called: the model runs inside a compiled function
        self._remove()
        self._made = {}

    def forward_failed(self, watched: WatchedModel) -> None:
        self._remove()
        self._calls, self._made = [], {}

    def before_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> None:
        """Record which parameters get a gradient in the first steps."""
        if watched.step > FREE_STEPS or self._reached_written:
            return
        for name, p in watched.parameters.items():
            if p.grad is not None:
                self._had_gradient[name] = self._had_gradient.get(name, False) or bool((p.grad != 0).any())

    def after_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> None:
        if watched.step >= FREE_STEPS and not self._reached_written:
            self._write_reached(watched)

    def settled(self, watched: WatchedModel, call: Pass) -> None:
        if call.kind == "train" and not self.done:
            self.done = True
            for name, p in watched.parameters.items():
                watched.write("parameter.trainable", int(p.requires_grad), name)
                self._write_initial(watched, name, p)
                if not p.requires_grad and p.grad is not None:
                    self._stale[name] = _version(p.grad)
            if call.training:
                in_eval = [name for name, m in watched.leaves.items() if depends_on_mode(m) and not m.training]
                watched.write("loop.part_in_eval", in_eval[:16])
            self._write_layers(watched)
        if call.kind == "train" and not self._reached_written and watched.step <= FREE_STEPS:
            for name, p in watched.parameters.items():  # without optimizer steps gradients are still available here
                if p.grad is not None:
                    self._had_gradient[name] = self._had_gradient.get(name, False) or bool((p.grad != 0).any())

    def finish(self, watched: WatchedModel) -> None:
        self._remove()
        self._calls = []
        if self.done:
            self._note_unfrozen(watched)
        changed = [name for name, p in watched.parameters.items() if p.numel() and self._has_moved(watched, name, p)]
        for name in changed:
            if watched.ledger.has("parameter.initial", name):  # as the copy of a model that an average updates
                watched.write("parameter.initial", 0, name)
        watched.write("run.weights_moved", int(bool(changed)), step=watched.steps_done)
        if (self.done or self._had_gradient) and not self._reached_written:  # a model may be called in parts only
            self._write_reached(watched)

    def _note_unfrozen(self, watched: WatchedModel) -> None:
        """Record parameters that were frozen at the first step and were unfrozen later, so that they got gradients."""
        for name, p in watched.parameters.items():
            frozen = not watched.ledger.last("parameter.trainable", name, 1)
            is_new = p.grad is not None and self._stale.get(name) != _version(p.grad)
            if frozen and p.requires_grad and is_new and p.grad is not None and bool((p.grad != 0).any()):
                watched.write("parameter.trainable", 1, name)
                watched.write("parameter.reached", 1, name)
                if watched.ledger.has("parameter.initial", name):
                    watched.write("parameter.initial", 0, name)

    def _write_initial(self, watched: WatchedModel, name: str, p: nn.Parameter) -> None:
        """Record whether a frozen weight of a layer is still as a random initialisation left it."""
        layer = watched.ledger.last("parameter.layer", name, "")
        module = watched.leaves.get(layer)
        if not p.requires_grad and isinstance(module, (*LINEAR_LAYERS, nn.RNNBase, nn.Embedding)):
            watched.write("parameter.initial", int(is_initial(module, p)), name)

    def _has_moved(self, watched: WatchedModel, name: str, p: nn.Parameter) -> bool:
        """Return whether the mean or the deviation of a parameter is another than at the start."""
        values = p.detach().float()
        now = [float(values.mean()), float(values.std(unbiased=False))]
        return now != [watched.ledger.last(f"parameter.{kind}", name) for kind in ("mean", "std")]

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _write_reached(self, watched: WatchedModel) -> None:
        self._reached_written = True
        for name in watched.parameters:
            watched.write("parameter.reached", int(name in self._had_gradient), name)
            if name in self._had_gradient:
                watched.write("parameter.gradient_zero", int(not self._had_gradient[name]), name)

    def _write_layers(self, watched: WatchedModel) -> None:
        producers: dict[int, _Call] = {}  # output node of a layer -> the call
        counts: dict[str, int] = {}
        links = linear = 0
        self._shared = consumers(node for call in self._calls for node in (call.source, call.node))
        self._write_last_layers(watched)
        for call in self._calls:
            counts[call.name] = counts.get(call.name, 0) + 1
            if counts[call.name] == 1:
                self._write_layer(watched, call, len(counts) - 1, producers)
                if isinstance(call.module, LINEAR_LAYERS):
                    linear += 1
                    links += call.source is not None
            if call.node is not None:
                producers[id(call.node)] = call
        for name, count in counts.items():
            watched.write("layer.calls", count, name)
        for name, facts in self._recurrent.items():
            watched.write("layer.recurrent", facts, name)
        watched.write("layer.linear_layers", linear)
        watched.write("layer.linear_links", links)
        watched.write("run.layer_types", sorted({str(call.output_type).removeprefix("torch.") for call in self._calls}))
        self._calls, self._shared = [], {}

    def _write_last_layers(self, watched: WatchedModel) -> None:
        """Record the linear layers without a linear layer after them: the outputs; there may be several."""
        calls = [call for call in self._calls if isinstance(call.module, LINEAR_LAYERS) and call.node is not None]
        sources = [call.source for call in calls if call.source is not None]
        within = {*consumers(sources), *sources}
        last = {call.name for call in calls if call.node not in within}
        for name in dict.fromkeys(call.name for call in calls):
            watched.write("layer.last", int(name in last), name)

    def _write_layer(self, watched: WatchedModel, call: _Call, order: int, producers: dict[int, _Call]) -> None:
        name, module = call.name, call.module
        watched.write("layer.order", order, name)
        watched.write("layer.kind", type(module).__name__, name)
        watched.write("layer.input_shape", call.input_shape, name)
        watched.write("layer.output_shape", call.output_shape, name)
        follows = producers.get(id(call.source)) or call.before
        watched.write("layer.follows", follows.name if follows else "", name)
        bias = getattr(module, "bias", None)
        watched.write("layer.bias", int(isinstance(bias, Tensor)), name)
        if isinstance(module, nn.modules.conv._ConvNd):
            watched.write("layer.groups", module.groups, name)
        if isinstance(module, DROPOUTS):
            watched.write("layer.dropout", module.p, name)
        if depends_on_mode(module):
            watched.write("layer.modes", int(module.training), name)
        if isinstance(module, LINEAR_LAYERS):
            self._write_linear_input(watched, call, producers)
        if isinstance(module, NORMS):
            self._write_norm(watched, call, producers)
        kind = activation_kind(module)
        if kind:
            watched.write("layer.activation", kind, name)

    def _write_linear_input(self, watched: WatchedModel, call: _Call, producers: dict[int, _Call]) -> None:
        via_norm = False
        for node in behind(call.source, norms=True, constant_products=True):
            if self._shared.get(node, 0) > 1:  # it has other consumers: the two layers are not one linear map
                break
            maker = producers.get(id(node))
            via_norm = via_norm or node.name() in BATCH_NORM
            if maker is not None and isinstance(maker.module, LINEAR_LAYERS):
                watched.write("layer.linear_after", maker.name, call.name)
                watched.write("layer.linear_via_norm", int(via_norm), call.name)
                return
            if node.name() in LINEAR and not is_constant_product(node):
                watched.write("layer.linear_after", "(functional)", call.name)
                return
        found = last_activation(call.source)
        if found is not None and not any(
            activation_kind(maker.module) and key in {id(n) for n in behind(call.source, max_pooling=True)}
            for key, maker in producers.items()
        ):
            watched.write("layer.activation", found[0], ">" + call.name)

    def _write_norm(self, watched: WatchedModel, call: _Call, producers: dict[int, _Call]) -> None:
        name, module = call.name, call.module
        watched.write("norm.kind", type(module).__name__, name)
        watched.write("norm.eps", float(getattr(module, "eps", 0.0) or 0.0), name)
        if not isinstance(module, (*BATCH_NORMS, nn.modules.instancenorm._InstanceNorm)):
            return
        shape = call.input_shape
        channels = shape[1] if len(shape) > 1 else 1
        watched.write("norm.batch", shape[0], name)
        per_sample = max(1, _product(shape) // max(1, shape[0] * channels))
        batch_norm = isinstance(module, BATCH_NORMS) and not isinstance(module, nn.modules.instancenorm._InstanceNorm)
        watched.write("norm.values", per_sample * (shape[0] if batch_norm else 1), name)
        watched.write("norm.momentum", -1.0 if module.momentum is None else float(module.momentum), name)
        watched.write("norm.tracks", int(bool(module.track_running_stats)), name)
        for node in behind(call.source):
            maker = producers.get(id(node))
            if maker is not None and isinstance(maker.module, LINEAR_LAYERS):
                if maker.module.bias is not None and maker.module.bias.requires_grad and module.training:
                    watched.write("layer.bias_before_norm", maker.name, name)
                return
            if node.name() not in REARRANGING:
                return


def _version(gradient: Tensor) -> tuple[int, int]:
    """Identity of a gradient and the number of changes in place."""
    return id(gradient), gradient._version


def has_parts(watched: WatchedModel) -> bool:
    """Return whether the model has layers besides itself: the hook of a single layer is set while it is called."""
    return any(module is not watched.inner for module in watched.leaves.values())


def has_compiled() -> bool:
    """Return whether torch.compile has compiled anything in this process."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return dynamo is not None and bool(getattr(dynamo, "counters", {}).get("frames"))


class _Call:
    """One call of a leaf module, with the autograd nodes of input and output instead of the tensors.

    before: the call whose output was the input of this one.
    """

    def __init__(self, name: str, module: nn.Module, given: Tensor, output: Tensor, before: _Call | None) -> None:
        self.name, self.module, self.before = name, module, before
        self.source, self.node = given.grad_fn, output.grad_fn
        self.output_type = output.dtype
        self.input_shape: list[int] = list(given.shape)
        self.output_shape: list[int] = list(output.shape)


def _product(shape: list[int]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product


def depends_on_mode(module: nn.Module) -> bool:
    """Return whether the module behaves differently in train and eval mode."""
    if isinstance(module, DROPOUTS):
        return module.p > 0
    return isinstance(module, BATCH_NORMS) or (
        isinstance(module, nn.modules.instancenorm._InstanceNorm) and module.track_running_stats
    )


def role(module: nn.Module, name: str) -> str:
    """Return the role of a parameter: weight, bias, norm_weight, norm_bias, embedding or other."""
    last = name.rpartition(".")[2]
    if isinstance(module, NORMS) or "norm" in type(module).__name__.lower():
        return "norm_bias" if "bias" in last else "norm_weight"
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return "embedding"
    if "bias" in last:
        return "bias"
    return "weight" if "weight" in last or isinstance(module, LINEAR_LAYERS) else "other"


_ACTIVATION_MODULES = {
    "ReLU": "relu", "ReLU6": "relu6", "Sigmoid": "sigmoid", "Tanh": "tanh", "GELU": "gelu", "SiLU": "silu",
    "LeakyReLU": "leaky_relu", "ELU": "elu", "SELU": "selu", "Softplus": "softplus", "PReLU": "prelu",
    "Hardswish": "hardswish", "Hardsigmoid": "hardsigmoid", "Hardtanh": "hardtanh", "Mish": "mish", "CELU": "celu",
    "Softmax": "softmax", "LogSoftmax": "log_softmax", "Softsign": "softsign", "LogSigmoid": "log_sigmoid",
}  # fmt: skip


def activation_kind(module: nn.Module) -> str | None:
    """Return the kind of an activation module ("relu", "sigmoid", ...), or None for any other module."""
    return _ACTIVATION_MODULES.get(type(module).__name__)

"""Activations at sampled passes: moments, zeros, saturation, dead units, collapse and rank, and gradients by depth.

A small block of the output of each layer is kept (up to 32 samples x 64 units x 4 positions); the moments of all layers
are then computed together. Functional activations (F.relu) are measured at the input of the next linear layer, as
'>LAYER'.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.instruments.structure import LINEAR_LAYERS, NORMS, activation_kind
from danlu.doctor.observation.calls import observe
from danlu.doctor.observation.watched_model import Pass, WatchedModel, tensors_in

MAX_SAMPLES, MAX_UNITS, MAX_POSITIONS = 32, 64, 4  # of each layer output
GRADIENT_POSITIONS = 8  # along each axis of an image or a sequence, at least
DEAD_WINDOW = 4  # measured steps over which a dead unit is zero
SATURATION_VALUES = {"sigmoid": (0.0, 1.0), "hardsigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "hardtanh": (-1.0, 1.0)}
SATURATION_MARGIN = 0.02
MIN_RECURRENT_CALLS = 4  # calls per pass; at least as many mean a recurrent layer
FIELDS = ("mean", "std", "zero_fraction", "saturated", "saturated_units", "dead_now", "spread", "rank")


class Activations(Instrument):
    """Write activation.* and layer.gradient."""

    name = "activations"
    kept = ("_zero", "_step", "_measured_step")

    def start(self, watched: WatchedModel) -> None:
        self._handles: list[Any] = []
        self._blocks: list[tuple[str, str, Tensor]] = []
        self._gradients: list[tuple[str, torch.Size, Tensor]] = []
        self._zero: dict[str, list[Tensor]] = {}
        self._step = 0
        self._measured_step = 0

    def before_forward(self, watched: WatchedModel, call: Pass) -> None:
        self._remove()
        if not call.grad or watched.compiled or self._measured_step == watched.step:
            return
        if not watched.budget.may(self.name, watched.step):
            return
        self._step = watched.step
        functional = watched.ledger.facts("layer.activation")
        for name, module in watched.leaves.items():
            kind = activation_kind(module)
            if kind or isinstance(module, (*LINEAR_LAYERS, *NORMS)):
                self._handles.append(
                    watched.observe_outputs(self.name, module, self._output_hook(watched, name, kind or "", module))
                )
            before = functional.get(">" + name)
            if before:
                hook = watched.timed_hook(self.name, self._input_hook(">" + name, before))
                self._handles.append(observe(module, before=hook))

    def _output_hook(self, watched: WatchedModel, name: str, kind: str, module: nn.Module) -> Any:
        conv = isinstance(module, nn.modules.conv._ConvNd)

        def hook(_: nn.Module, args: tuple, output: Any) -> None:
            if isinstance(output, Tensor) and output.is_floating_point() and output.dim() > 1:
                with torch.no_grad():
                    self._blocks.append((name, kind, block(output.detach(), conv)))
                if output.requires_grad and not output.is_leaf:
                    watched.tensor_hooks.add(output, watched.timed_hook(self.name, self._gradient_hook(name)))

        return hook

    def _input_hook(self, where: str, kind: str) -> Any:
        def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
            given = args[0] if args else None
            if isinstance(given, Tensor) and given.is_floating_point() and given.dim() > 1:
                with torch.no_grad():
                    conv = isinstance(module, nn.modules.conv._ConvNd)
                    self._blocks.append((where, kind, block(given.detach(), conv)))

        return hook

    def _gradient_hook(self, name: str) -> Any:
        def hook(gradient: Tensor) -> None:
            with torch.no_grad():
                rms = some_values(gradient).float().square().mean().sqrt()
                # The loss is a mean over samples; times their number this is the gradient of one sample.
                self._gradients.append((name, gradient.shape, rms * gradient.shape[0]))

        return hook

    def after_forward(self, watched: WatchedModel, call: Pass, outputs: Any) -> bool | None:
        self._remove()
        blocks, self._blocks = self._blocks, []
        if not blocks:
            return None
        self._measured_step = watched.step
        groups: dict[tuple, list[tuple[str, str, Tensor]]] = {}
        # The last call of each layer: the initial state of a recurrence is the same for all samples.
        for item in {item[0]: item for item in blocks}.values():
            groups.setdefault((*item[2].shape, item[2].device), []).append(item)
        alike = has_one_input(call)
        for group in groups.values():
            self._measure(watched, group, alike)
        return True

    def after_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> None:
        calls: dict[str, list[Tensor]] = {}  # by layer, last call first (order of the backward pass)
        shapes: dict[str, set[torch.Size]] = {}
        for name, shape, value in self._gradients:
            calls.setdefault(name, []).append(value)
            shapes.setdefault(name, set()).add(shape)
        self._gradients = []
        for name, values in calls.items():
            watched.write_deferred("layer.gradient", values[0], name, self._step)
            if len(values) >= MIN_RECURRENT_CALLS and len(shapes[name]) == 1:  # not a head shared by pyramid levels
                growth = values[-1] / values[0].clamp(min=1e-30)
                watched.write_deferred("layer.gradient_growth", growth, name, self._step)

    def forward_failed(self, watched: WatchedModel) -> None:
        self._remove()
        self._blocks = []

    def finish(self, watched: WatchedModel) -> None:
        self._remove()

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _measure(self, watched: WatchedModel, group: list[tuple[str, str, Tensor]], alike: bool) -> None:
        """Write the moments of a group of layers. alike: all samples have the same input, and outputs cannot differ."""
        stack = torch.stack([values for _, _, values in group])  # (layers, samples, positions, units)
        ends = [SATURATION_VALUES.get(kind, (-torch.inf, torch.inf)) for _, kind, _ in group]
        low = torch.tensor([e[0] + SATURATION_MARGIN for e in ends], device=stack.device).view(-1, 1, 1, 1)
        high = torch.tensor([e[1] - SATURATION_MARGIN for e in ends], device=stack.device).view(-1, 1, 1, 1)
        table, zero = moments(stack, low, high)
        names, kinds, step = [n for n, _, _ in group], [k for _, k, _ in group], watched.step
        samples = stack.shape[1]
        relu = [k in ("relu", "relu6") for k in kinds]
        dead = self._dead_fraction(names, relu, zero)

        def write(numbers: list[float]) -> None:
            width = len(FIELDS)
            for index, (name, kind) in enumerate(zip(names, kinds)):
                row = dict(zip(FIELDS, numbers[index * width : (index + 1) * width]))
                for key in ("mean", "std", "zero_fraction", "spread", "rank"):
                    if alike and key in ("spread", "rank"):
                        continue
                    watched.ledger.add(f"activation.{key}", row[key], name, step)
                watched.ledger.add("activation.samples", samples, name, step)
                if kind in SATURATION_VALUES:
                    watched.ledger.add("activation.saturated", row["saturated"], name, step)
                    watched.ledger.add("activation.saturated_units", row["saturated_units"], name, step)

        watched.deferred.add(table, write)
        for name, is_relu in zip(names, relu):
            if is_relu:
                fraction, count = dead[name]
                watched.write_deferred("activation.dead_units", fraction, name)
                watched.write("activation.dead_samples", count * samples, name)

    def _dead_fraction(self, names: list[str], relu: list[bool], zero: Tensor) -> dict[str, tuple[Tensor, int]]:
        result = {}
        for index, (name, is_relu) in enumerate(zip(names, relu)):
            if is_relu:
                window = self._zero.setdefault(name, [])
                if window and window[-1].shape != zero[index].shape:
                    window.clear()
                window.append(zero[index])
                del window[:-DEAD_WINDOW]
                result[name] = (torch.stack(window).all(0).float().mean(), len(window))
        return result


def some_values(gradient: Tensor) -> Tensor:
    """A view of up to `MAX_SAMPLES` or more samples of a gradient (N, C, ...), and about 8 positions of each axis.

    The positions are an odd number apart: behind a layer of stride 2, every second one may be zero.
    """
    part = gradient[:: max(1, gradient.shape[0] // MAX_SAMPLES)]
    for axis in range(2, part.dim()):
        apart = part.shape[axis] // GRADIENT_POSITIONS
        part = part[(slice(None),) * axis + (slice(None, None, max(1, apart - 1 + apart % 2)),)]
    return part


def has_one_input(call: Pass) -> bool:
    """Return whether all samples of a pass are the same, as several environments in their first state."""
    inputs = [one.detach() for one in tensors_in((call.args, call.kwargs)) if one.dim() and len(one) > 1]
    some = [one[:: max(1, len(one) // MAX_SAMPLES)] for one in inputs]
    return bool(some) and all(bool((one == one[:1]).all()) for one in some)


def block(values: Tensor, conv: bool) -> Tensor:
    """Subsample the output of a layer to (samples, positions, units), as a float32 copy."""
    values = values[:: max(1, values.shape[0] // MAX_SAMPLES)][:MAX_SAMPLES]
    if values.dim() == 2:
        values = values[:, None]
    elif conv or values.dim() > 3:  # (N, C, ...): units are channels
        for axis in range(2, values.dim()):
            size, want = values.shape[axis], 2 if values.dim() > 3 else 4
            stride = max(1, size // want)
            values = values[(slice(None),) * axis + (slice(stride // 2, None, stride),)].narrow(
                axis, 0, min(want, size)
            )
        values = values.flatten(2).transpose(1, 2)
    else:  # (N, L, D): units are the last dimension
        values = values[:, :: max(1, values.shape[1] // MAX_POSITIONS)][:, :MAX_POSITIONS]
    values = values[..., :: max(1, values.shape[-1] // MAX_UNITS)][..., :MAX_UNITS]
    return values.to(torch.float32, copy=True).contiguous()


def moments(stack: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Compute FIELDS for each layer (layers, 8), and a mask of the units that are zero for all samples (layers, units).

    Args:
        stack: (layers, samples, positions, units).
        low, high: saturation thresholds, (layers, 1, 1, 1).
    """
    axes = (1, 2, 3)
    mean, square = stack.mean(axes), stack.square().mean(axes)
    std = (square - mean.square()).clamp(min=0).sqrt()
    zero = stack == 0
    is_low, is_high = stack < low, stack > high
    pinned = (is_low.float().mean((1, 2)) > 0.95) | (is_high.float().mean((1, 2)) > 0.95)
    by_sample = stack.mean(2)  # (layers, samples, units)
    centred = by_sample - by_sample.mean(1, keepdim=True)
    spread = centred.square().mean((1, 2)) / by_sample.square().mean((1, 2)).clamp(min=1e-30)
    gram = centred @ centred.transpose(1, 2)
    trace = gram.diagonal(dim1=1, dim2=2).sum(1)
    rank = trace.square() / gram.square().sum((1, 2)).clamp(min=1e-30)
    all_zero = zero.all(1).all(1)
    table = torch.stack(
        [
            mean,
            std,
            zero.float().mean(axes),
            (is_low | is_high).float().mean(axes),
            pinned.float().mean(1),
            all_zero.float().mean(1),
            spread,
            rank,
        ],
        dim=1,
    )
    return table, all_zero

"""Forward, backward and optimiser time of every layer, measured inside training steps of the whole network."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from danlu.inspection.layers import in_mode

BuildOptimizer = Callable[[nn.Module], torch.optim.Optimizer]


@dataclass(frozen=True)
class Timed:
    """Median seconds per batch.

    Args:
        batch_size: Samples per batch.
        repeats: Number of measured steps.
        device: Device as a string.
        forward, backward, step: Of the whole network, measured without clocks inside.
        layers: Module name -> {"forward", "backward", "step"}, without the time of its submodules.
    """

    batch_size: int
    repeats: int
    device: str
    forward: float
    backward: float
    step: float
    layers: dict[str, dict[str, float]]


def time_layers(model: nn.Module, batch: Tensor, build: BuildOptimizer, *, repeats: int = 5) -> Timed:
    """Train `model` for `repeats` + 1 steps on `batch` (N, ...) on its device, timing each layer.

    The weights change: pass a copy. The step time of a layer is that of an optimiser of its own parameters.

    Args:
        build: Module -> optimiser of its parameters.
        repeats: Measured steps; one more is run first and dropped.
    """
    clock = _clock(batch.device)
    totals: dict[str, list[float]] = defaultdict(list)
    per_layer: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    names = {module: name or "(network)" for name, module in model.named_modules()}
    with in_mode(model, training=True), torch.enable_grad():
        optimizers = _optimizers(model, names, build)
        full_optimizer = build(model)
        for turn in range(repeats + 1):
            for phase, seconds in _step(model, batch, full_optimizer, clock).items():
                totals[phase].append(seconds)
            once = _split_step(model, batch, names, clock)
            for name, optimizer in optimizers.items():
                start = clock()
                optimizer.step()
                once[name]["step"] += clock() - start
            if turn == 0:  # the first step allocates memory and selects kernels
                totals.clear()
                continue
            for name, phases in once.items():
                for phase, seconds in phases.items():
                    per_layer[name][phase].append(seconds)
    layers = {name: {phase: statistics.median(s) for phase, s in phases.items()} for name, phases in per_layer.items()}
    median = {phase: statistics.median(seconds) for phase, seconds in totals.items()}
    return Timed(len(batch), repeats, str(batch.device), **median, layers=layers)


def _step(
    model: nn.Module, batch: Tensor, optimizer: torch.optim.Optimizer, clock: Callable[[], float]
) -> dict[str, float]:
    """Run one training step and return its seconds by phase."""
    optimizer.zero_grad(set_to_none=False)
    times = [clock()]
    loss = _scalar(model(batch))
    times.append(clock())
    loss.backward()
    times.append(clock())
    optimizer.step()
    times.append(clock())
    return {phase: b - a for phase, a, b in zip(("forward", "backward", "step"), times, times[1:])}


def _split_step(
    model: nn.Module, batch: Tensor, names: dict[nn.Module, str], clock: Callable[[], float]
) -> dict[str, dict[str, float]]:
    """Run forward and backward with a clock between any two layers. Return name -> phase -> seconds."""
    spent: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    with _forward_clocks(names, spent, clock) as made:
        loss = _scalar(model(batch))
    _backward_clocks(loss, names, made, spent, clock)
    loss.backward()
    return spent


@contextmanager
def _forward_clocks(
    names: dict[nn.Module, str], spent: dict[str, dict[str, float]], clock: Callable[[], float]
) -> Iterator[list[tuple[int, str]]]:
    """Charge the time between two hooks to the running module.

    Yields a list of (sequence number of the first backward node, module), one per interval: autograd numbers nodes in
    the order in which the forward pass creates them.
    """
    stack = ["(network)"]
    made = [(_next_node(), "(network)")]
    since = clock()

    def switch(module: nn.Module, entering: bool) -> None:
        nonlocal since
        spent[stack[-1]]["forward"] += clock() - since
        if entering:
            stack.append(names[module])
        else:
            stack.pop()
        made.append((_next_node(), stack[-1]))
        since = clock()

    hooks = [m.register_forward_pre_hook(lambda module, inputs: switch(module, True)) for m in names]
    hooks += [m.register_forward_hook(lambda module, inputs, output: switch(module, False)) for m in names]
    try:
        yield made
    finally:
        for hook in hooks:
            hook.remove()


def _backward_clocks(
    loss: Tensor,
    names: dict[nn.Module, str],
    made: list[tuple[int, str]],
    spent: dict[str, dict[str, float]],
    clock: Callable[[], float],
) -> None:
    """Put a clock before and after every node of the graph of `loss`, freed together with the graph."""
    firsts = [first for first, _ in made]
    owners = {id(p): name for m, name in names.items() for p in m.parameters(recurse=False)}
    started = [0.0]

    def before(grads: Any) -> None:
        started[0] = clock()

    for node in _nodes(loss):
        variable = getattr(node, "variable", None)  # a node that accumulates a gradient
        if variable is not None:
            name = owners.get(id(variable), "(network)")
        else:
            index = _last_at_most(firsts, node._sequence_nr())
            name = made[index][1]

        def after(grads: Any, inputs: Any, name: str = name) -> None:
            spent[name]["backward"] += clock() - started[0]

        node.register_prehook(before)
        node.register_hook(after)


def _nodes(loss: Tensor) -> list[Any]:
    """Return all nodes of the graph of `loss`."""
    found, waiting = {}, [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found[node] = True
            waiting += [n for n, _ in node.next_functions]
    return list(found)


def _next_node() -> int:
    """Return the sequence number that autograd gives to the next node."""
    return torch.autograd._get_sequence_nr()  # pyright: ignore[reportPrivateImportUsage]


def _last_at_most(firsts: list[int], number: int) -> int:
    """Return the index of the last interval that begins at or before `number`. firsts: starts of the intervals."""
    index = 0
    for i, first in enumerate(firsts):
        if first <= number:
            index = i
    return index


def _optimizers(model: nn.Module, names: dict[nn.Module, str], build: BuildOptimizer) -> dict[str, Any]:
    """Build an optimiser for the own parameters of every module that has trainable ones."""
    own = {name: [p for p in m.parameters(recurse=False) if p.requires_grad] for m, name in names.items()}
    return {name: build(nn.ParameterList(parameters)) for name, parameters in own.items() if parameters}


def _scalar(out: Any) -> Tensor:
    """Return a scalar to differentiate: the sum of a network's outputs."""
    values = out.values() if isinstance(out, dict) else out if isinstance(out, list | tuple) else [out]
    total: Any = sum(v.float().sum() for v in values if isinstance(v, Tensor))
    return total


def _clock(device: torch.device) -> Callable[[], float]:
    """Return a clock in seconds that waits for the GPU to finish."""
    if device.type == "cuda":

        def read() -> float:
            torch.cuda.synchronize(device)
            return time.perf_counter()

        return read
    return time.perf_counter

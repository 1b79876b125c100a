"""Forward, backward and step time of every layer, measured where it runs: inside the whole network's training step."""

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
    """Seconds per batch, medians. layers: name of a module -> its own part, without that of modules inside it.

    forward, backward, step: of the whole network, measured without the clocks inside.
    """

    batch_size: int
    repeats: int
    device: str
    forward: float
    backward: float
    step: float
    layers: dict[str, dict[str, float]]


def time_layers(model: nn.Module, batch: Tensor, build: BuildOptimizer, *, repeats: int = 5) -> Timed:
    """Train `model`, which should be a copy, on `batch` (N, ...) and its device, and read the clock around each layer.

    build: a module -> the optimiser of its parameters. A layer's step is that of an optimiser of its own.
    """
    clock = _clock(batch.device)
    totals: dict[str, list[float]] = defaultdict(list)
    parts: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    names = {module: name or "(network)" for name, module in model.named_modules()}
    with in_mode(model, training=True), torch.enable_grad():
        optimizers = _optimizers(model, names, build)
        whole = build(model)
        for turn in range(repeats + 1):
            for phase, seconds in _step(model, batch, whole, clock).items():
                totals[phase].append(seconds)
            once = _split_step(model, batch, names, clock)
            for name, optimizer in optimizers.items():
                start = clock()
                optimizer.step()
                once[name]["step"] += clock() - start
            if turn == 0:  # the first allocates and chooses kernels
                totals.clear()
                continue
            for name, phases in once.items():
                for phase, seconds in phases.items():
                    parts[name][phase].append(seconds)
    layers = {name: {phase: statistics.median(s) for phase, s in phases.items()} for name, phases in parts.items()}
    median = {phase: statistics.median(seconds) for phase, seconds in totals.items()}
    return Timed(len(batch), repeats, str(batch.device), **median, layers=layers)


def _step(model: nn.Module, batch: Tensor, optimizer: torch.optim.Optimizer, clock: Callable[[], float]) -> dict:
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
    """One forward and backward pass with a clock between any two layers: name -> phase -> seconds."""
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
    """Charges the time between two hooks to the module that was running.

    Gives (first number of a backward node, module) for every stretch: nodes are numbered in the order in which the
    forward pass makes them.
    """
    stack = ["(network)"]
    made = [(torch.autograd._get_sequence_nr(), "(network)")]
    since = clock()

    def turn(module: nn.Module, entering: bool) -> None:
        nonlocal since
        spent[stack[-1]]["forward"] += clock() - since
        if entering:
            stack.append(names[module])
        else:
            stack.pop()
        made.append((torch.autograd._get_sequence_nr(), stack[-1]))
        since = clock()

    hooks = [m.register_forward_pre_hook(lambda module, inputs: turn(module, True)) for m in names]
    hooks += [m.register_forward_hook(lambda module, inputs, output: turn(module, False)) for m in names]
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
    """A clock before and after every node of the graph that leads to `loss`; it goes with the graph."""
    firsts = [first for first, _ in made]
    owners = {id(p): name for m, name in names.items() for p in m.parameters(recurse=False)}
    started = [0.0]

    def before(grads: Any) -> None:
        started[0] = clock()

    for node in _nodes(loss):
        variable = getattr(node, "variable", None)  # where a gradient is added up
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
    """All nodes of the graph behind `loss`."""
    found, waiting = {}, [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found[node] = True
            waiting += [n for n, _ in node.next_functions]
    return list(found)


def _last_at_most(firsts: list[int], number: int) -> int:
    """Of stretches that begin at `firsts`, the last that begins at or before `number`."""
    index = 0
    for i, first in enumerate(firsts):
        if first <= number:
            index = i
    return index


def _optimizers(model: nn.Module, names: dict[nn.Module, str], build: BuildOptimizer) -> dict[str, Any]:
    """An optimiser for the own parameters of every module that has some."""
    own = {name: [p for p in m.parameters(recurse=False) if p.requires_grad] for m, name in names.items()}
    return {name: build(nn.ParameterList(parameters)) for name, parameters in own.items() if parameters}


def _scalar(out: Any) -> Tensor:
    """Something to differentiate: the sum of a network's outputs."""
    values = out.values() if isinstance(out, dict) else out if isinstance(out, list | tuple) else [out]
    total: Any = sum(v.float().sum() for v in values if isinstance(v, Tensor))
    return total


def _clock(device: torch.device) -> Callable[[], float]:
    """Seconds; on a card, after all that was asked of it is done."""
    if device.type == "cuda":

        def read() -> float:
            torch.cuda.synchronize(device)
            return time.perf_counter()

        return read
    return time.perf_counter

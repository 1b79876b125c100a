"""`danlu inspect`: what a network is made of, layer by layer, before anything is trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from danlu.config import OptimConfig
from danlu.inspection.dominance import dominant, vc_dimension
from danlu.inspection.drawing import draw, svg, write_png
from danlu.inspection.layers import Layer, trace
from danlu.inspection.memory import STATES, training_memory
from danlu.inspection.timing import time_layers
from danlu.models.build import MODELS, build_model
from danlu.optim import build_optimizer
from danlu.refuse import Refusal, blame, choose, refusal

INPUT = {"lenet": "1x28x28", "lenet5": "1x32x32", "small-cnn": "1x8x8", "alexnet": "3x227x227"}  # others: 3x224x224


def inspect(
    model: str | nn.Module,
    input: str | None = None,
    *,
    classes: int | str = 10,
    batch_size: int | str = 32,
    optimizer: str = "adamw",
    plot: str | Path | None = None,
    time: bool | str = False,
) -> dict[str, Any]:
    """{"model", "input", "parameters", "multiply_adds", "activation_bytes", "layers": [...], ...} as plain values.

    model: a name that `danlu train --model` takes, or a module. input: "CxHxW", or "D" for rows of D numbers; by
    default what the network was made for. Bytes and multiply-adds are per sample, memory for training at `batch_size`
    with the state of `optimizer`. plot: a .png or .svg file to draw the network in. time: measure forward, backward and
    step of every layer on this machine. Raises Refusal for a network or an input that cannot be.
    """
    classes, batch_size = _whole("--classes", classes), _whole("--batch-size", batch_size)
    choose("--optimizer", optimizer, STATES, "a known update rule")
    name = model if isinstance(model, str) else type(model).__name__
    shape = _shape(input or _default_input(name))
    network = _network(model, shape, classes) if isinstance(model, str) else model
    sample = torch.zeros(1, *shape)
    try:
        traced = trace(network, sample)
        memory = training_memory(network, sample, batch_size, optimizer)
    except (RuntimeError, ValueError) as error:
        raise Refusal(f"--input {'x'.join(map(str, shape))} does not go through {name}: {_first(error)}") from None
    capacity, basis = vc_dimension(traced.layers, sample.numel())
    found = {
        "model": name,
        "input": list(shape),
        "parameters": sum(p.numel() for p in network.parameters()),
        "multiply_adds": traced.total("multiply_adds"),
        "activation_bytes": traced.total("activation_bytes"),
        "depth": traced.depth,
        "memory": {**vars(memory), "total": memory.total, "optimizer": optimizer},
        "vc_dimension": {"estimate": capacity, "basis": basis},
        "dominates": dominant(traced.layers),
        "layers": [_row(layer) for layer in traced.layers if layer.used or layer.parameters],
    }
    if time in (True, "true", "yes", "1", "on"):
        found["time"] = _time(network, shape, batch_size, optimizer)
    if plot is not None:
        _plot(Path(plot), traced.layers, shape, name)
    return found


def _network(name: str, shape: tuple[int, ...], classes: int) -> nn.Module:
    if len(shape) == 1:
        return build_model(name, classes=classes, inputs=shape[0])
    if len(shape) != 3 or shape[1] != shape[2]:
        raise refusal("--input", "CxHxW with H = W, or D for rows of numbers", "x".join(map(str, shape)))
    return build_model(name, classes=classes, channels=shape[0], size=shape[1])


def _default_input(name: str) -> str:
    if name in MODELS and MODELS[name].tabular:
        return "784"
    small = name.endswith("-cifar") or name in ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110")
    large = "3x299x299" if name.startswith("inception") else "3x224x224"
    return INPUT.get(name, "3x32x32" if small else large)


def _shape(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d*([x×][1-9]\d*){0,2}", text):
        raise refusal("--input", 'CxHxW such as "3x224x224", or D for rows of numbers', text)
    return tuple(int(part) for part in re.split("[x×]", text))


def _whole(flag: str, value: int | str) -> int:
    if not str(value).isdigit() or int(value) < 1:
        raise refusal(flag, "a whole number of at least 1", value)
    return int(value)


def _row(layer: Layer) -> dict[str, Any]:
    kept = ("name", "kind", "detail", "output", "parameters", "multiply_adds", "activation_bytes", "used")
    row = {key: getattr(layer, key) for key in kept} | {"output": list(layer.output)}
    return row | {
        "receptive_field": list(layer.receptive_field) if layer.receptive_field else None,
        "jump": list(layer.jump) if layer.jump else None,
    }


def _time(network: nn.Module, shape: tuple[int, ...], batch_size: int, optimizer: str) -> dict[str, Any]:
    config = OptimConfig(name=optimizer, lr=1e-9)  # type: ignore[arg-type]
    timed = time_layers(network, torch.randn(batch_size, *shape), lambda module: build_optimizer(module, config))
    return vars(timed)


def _plot(path: Path, layers: list[Layer], shape: tuple[int, ...], name: str) -> None:
    if path.suffix not in (".png", ".svg"):
        raise refusal("--plot", "a .png or .svg file", str(path))
    drawing = draw(layers, shape, name)
    try:
        path.write_text(svg(drawing), encoding="utf-8") if path.suffix == ".svg" else write_png(drawing, path)
    except OSError as error:
        raise blame(error, "--plot") from None


def _first(error: Exception) -> str:
    return str(error).splitlines()[0][:160]

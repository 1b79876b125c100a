"""`danlu inspect`: layers, costs and memory of a network, before anything is trained."""

from __future__ import annotations

import math
import re
import warnings
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from danlu.analysis.inspected import (
    EffectiveCosts,
    InspectedNetwork,
    LayerCosts,
    MeasuredTime,
    MemoryCosts,
    NetworkComparison,
    VCDimension,
)
from danlu.config import OptimConfig
from danlu.detection.coverage import anchors_of, shapes_of
from danlu.detection.detector import Detector
from danlu.detection.detector_table import DETECTORS, build_with_backbone
from danlu.inspection.comparison import branched, compare, family_fractions
from danlu.inspection.dominance import dominant, vc_dimension
from danlu.inspection.drawing import draw, svg, write_png
from danlu.inspection.effective import draw_fields, effective_fields, last_of_each_stride
from danlu.inspection.layers import Layer, Traced, trace
from danlu.inspection.memory import StateBytes, TrainingMemory, training_memory
from danlu.inspection.timing import time_layers
from danlu.learning.optim import OPTIMIZERS, build_optimizer
from danlu.message import message
from danlu.models.network_table import MODELS, build_model
from danlu.models.spec import NetworkFacts
from danlu.own.collect import collect
from danlu.python_calls import python_names
from danlu.refuse import NOTHING, Refusal, blame, one_of, refusal

MAX_SIZE = 1_000_000  # classes, channels, pixels of a side, samples of a batch; beyond it sizes overflow
BOOLEANS: dict[str, bool] = {"true": True, "yes": True, "1": True, "on": True}
BOOLEANS |= {"false": False, "no": False, "0": False, "off": False}
IMAGE_INPUT = (3, 224, 224)  # for networks of timm and torchvision
DETECTOR_SIDE = 320  # pixels, for detectors that are designed for no size


@dataclass(frozen=True)
class TracedNetwork:
    """A network and its trace. network: on torch's meta device (without weights) where that is possible."""

    name: str
    shape: tuple[int, ...]
    network: nn.Module
    traced: Traced
    memory: TrainingMemory


@python_names()
def inspect(
    model: str | nn.Module,
    input: str | None = None,
    *,
    classes: int | str = 10,
    batch_size: int | str = 32,
    optimizer: str = "adamw",
    plot: str | Path | None = None,
    time: bool | str = False,
    effective: str | Path | None = None,
    **options: Any,
) -> InspectedNetwork:
    """Trace a network and compute its parameters, multiply-adds, receptive fields and memory, layer by layer.

    Args:
        model: A name that `danlu train --model` takes, also of a detector or FILE.py:NAME, or a module.
        input: "CxHxW", "TxCxHxW" for clips of T frames, or "D" for rows of D numbers; by default the network's own
            input size.
        classes: Number of outputs.
        batch_size, optimizer: Of the training whose memory is computed.
        plot: .png or .svg file to draw the network in.
        time: Measure forward, backward and step of every layer on this machine, in seconds.
        effective: .png file to draw the effective receptive fields in (see `danlu.inspection.effective`), measured on
            the network at its initialisation, or on the given module.
        options: Of the network, such as norm="group", and `backbone`.

    Returns:
        The layers with their shapes and costs. Bytes and multiply-adds are per sample; `memory` is that of training.

    Raises:
        Refusal: An unknown network, or an input that does not fit it.
    """
    timed = _boolean("--time", time)
    if isinstance(model, str):
        model = _own_network(model, input, classes)
    if model in DETECTORS and timed:
        omitted = message(
            "analysis.wanted.time_detector", "omitted for detectors, whose loss needs objects; inspect their backbone"
        )
        raise refusal("--time", omitted, time)
    traced_network = _trace_network(model, input, classes, batch_size, optimizer, options)
    traced, memory = traced_network.traced, traced_network.memory
    if plot is not None:
        _plot(Path(plot), traced.layers, traced_network.shape, traced_network.name)
    return InspectedNetwork(
        model=traced_network.name,
        input=list(traced_network.shape),
        parameters=sum(p.numel() for p in traced_network.network.parameters()),
        multiply_adds=traced.total("multiply_adds"),
        activation_bytes=traced.total("activation_bytes"),
        depth=traced.depth,
        memory=MemoryCosts(**vars(memory), total=memory.total, optimizer=optimizer),
        vc_dimension=VCDimension(*vc_dimension(traced.layers, math.prod(traced_network.shape))),
        dominates=dominant(traced.layers),
        layers=[_layer_costs(layer) for layer in traced.layers if layer.used or layer.parameters],
        time=_time(model, traced_network, int(classes), optimizer, options) if timed else None,
        effective=_effective(model, traced_network, int(classes), Path(effective), options) if effective else None,
        anchors=_anchors(str(model), traced_network.shape, int(classes), options) if model in DETECTORS else None,
    )


def compare_networks(*names: str, input: str | None = None, classes: int | str = 10) -> NetworkComparison:
    """Compare two or more networks layer by layer.

    input: as for `inspect`; by default each network's own input size. Refusal as for `inspect`.
    """
    if len(set(names)) < 2:
        raise refusal(
            "--compare", message("analysis.wanted.two_networks_more", "two networks or more"), " ".join(names)
        )
    networks = {name: _trace_network(name, input, classes, batch_size=1, optimizer="sgd", options={}) for name in names}
    layers = {name: one.traced.layers for name, one in networks.items()}
    return NetworkComparison(
        models=list(layers),
        rows=compare(layers),
        fractions={name: family_fractions(own) for name, own in layers.items()},
        branched={name: branched(own, networks[name].shape) for name, own in layers.items()},
        dominates={name: dominant(own) for name, own in layers.items()},
    )


def _own_network(model: str, input: str | None, classes: int | str) -> str | nn.Module:
    """The network of FILE.py:NAME, built for the shape of the input; other names are returned as they are."""
    plain, objects = collect({"model": model})
    if objects.model is None:
        return plain["model"]
    if input is None:
        wanted = message("analysis.wanted.input_of_own", "given for a network of your own, as 3x64x64")
        raise refusal("--input", wanted, NOTHING)
    shape = _shape(input)
    frames = shape[0] if len(shape) == 4 else None
    rows = len(shape) == 1
    return objects.model.build(
        NetworkFacts(
            classes=_integer("--classes", classes),
            shape=shape,
            channels=None if rows else shape[-3],
            size=None if rows else shape[-1],
            inputs=shape[0] if rows else None,
            frames=frames,
        )
    )


def _trace_network(
    model: str | nn.Module,
    input: str | None,
    classes: int | str,
    batch_size: int | str,
    optimizer: str,
    options: dict[str, Any],
) -> TracedNetwork:
    """Build a network, without weights where possible, and trace it."""
    classes, batch_size = _integer("--classes", classes), _integer("--batch-size", batch_size)
    one_of("--optimizer", optimizer, OPTIMIZERS, message("analysis.wanted.known_update_rule", "a known update rule"))
    name = model if isinstance(model, str) else type(model).__name__
    state_bytes = OPTIMIZERS[optimizer].state_bytes
    shape = _shape(input or _default_input(name))
    sample = torch.zeros(1, *shape, device="meta")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # libraries warn about weights on the meta device
            network, traced, memory = _traced(model, shape, sample, classes, batch_size, state_bytes, options)
    except Refusal:
        raise
    except (RuntimeError, ValueError) as error:
        raise Refusal(
            message(
                "analysis.refuse.input_does_fit",
                "--input {listed} does not fit {name}: {first_line}",
                listed="x".join(map(str, shape)),
                name=name,
                first_line=_first_line(error),
            )
        ) from None
    return TracedNetwork(name, shape, network, traced, memory)


def _traced(
    model: str | nn.Module,
    shape: tuple[int, ...],
    sample: Tensor,
    classes: int,
    batch_size: int,
    state_bytes: StateBytes,
    options: dict[str, Any],
) -> tuple[nn.Module, Traced, TrainingMemory]:
    """Build a network by name on the meta device; on the CPU where its construction reads weights."""
    if isinstance(model, str):
        try:
            with torch.device("meta"):
                empty = _network(model, shape, classes, options)
            return empty, trace(empty, sample), training_memory(empty, sample, batch_size, state_bytes)
        except Refusal:
            raise
        except (RuntimeError, NotImplementedError, ValueError):
            model, sample = _network(model, shape, classes, options), torch.zeros(sample.shape)
    return model, trace(model, sample), training_memory(model, sample, batch_size, state_bytes)


def _network(name: str, shape: tuple[int, ...], classes: int, options: dict[str, Any]) -> nn.Module:
    if len(shape) == 1:
        return build_model(name, classes=classes, inputs=shape[0], **options)
    if len(shape) not in ((3,) if name in DETECTORS else (3, 4)) or shape[-1] != shape[-2]:
        raise refusal(
            "--input",
            message("analysis.wanted.cxhxw_table_rows", "CxHxW with H = W, TxCxHxW for clips, or D for table rows"),
            "x".join(map(str, shape)),
        )
    if name in DETECTORS:
        own = {"backbone": None, "classes": classes, "channels": shape[0], "size": shape[1]} | options
        return build_with_backbone(name, **own)
    frames = shape[0] if len(shape) == 4 else None
    return build_model(name, classes=classes, channels=shape[-3], size=shape[-1], frames=frames, **options)


def _default_input(name: str) -> str:
    if name in DETECTORS:
        side = DETECTORS[name].size or DETECTOR_SIDE
        return f"3x{side}x{side}"
    return "x".join(map(str, MODELS[name].default_input if name in MODELS else IMAGE_INPUT))


def _shape(text: str) -> tuple[int, ...]:
    wanted = message(
        "analysis.wanted.cxhxw_such_3x224x224_table",
        'CxHxW such as "3x224x224", TxCxHxW for clips, or D for table rows, of at most {max_size:,} each',
        max_size=MAX_SIZE,
    )
    if not re.fullmatch(r"[1-9][0-9]*([x×][1-9][0-9]*){0,3}", str(text)):
        raise refusal("--input", wanted, text)
    shape = tuple(int(part) for part in re.split("[x×]", str(text)))
    if max(shape) > MAX_SIZE:
        raise refusal("--input", wanted, text)
    return shape


def _integer(flag: str, value: int | str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", str(value)) or not 1 <= int(value) <= MAX_SIZE:
        raise refusal(
            flag,
            message(
                "analysis.wanted.integer_least_most",
                "an integer of at least 1 and at most {max_size:,}",
                max_size=MAX_SIZE,
            ),
            value,
        )
    return int(value)


def _boolean(flag: str, value: bool | str) -> bool:
    if str(value).lower() not in BOOLEANS:
        raise refusal(flag, message("analysis.wanted.true_false", "true or false"), value)
    return BOOLEANS[str(value).lower()]


def _layer_costs(layer: Layer) -> LayerCosts:
    return LayerCosts(
        layer.name,
        layer.kind,
        layer.detail,
        list(layer.output),
        layer.parameters,
        layer.multiply_adds,
        layer.activation_bytes,
        layer.used,
        list(layer.receptive_field) if layer.receptive_field else None,
        list(layer.jump) if layer.jump else None,
    )


def _effective(
    model: str | nn.Module, traced: TracedNetwork, classes: int, path: Path, options: dict[str, Any]
) -> list[EffectiveCosts]:
    """Measure and draw the effective receptive field of the last convolution of each stride."""
    if path.suffix != ".png":
        raise refusal("--effective", message("analysis.wanted.png_file", "a .png file"), str(path))
    names = last_of_each_stride(traced.traced.layers)
    if len(traced.shape) != 3 or not names:
        wanted = message("analysis.wanted.convolutions", "omitted for networks without convolutions of images")
        raise refusal("--effective", wanted, str(path))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        network = _network(model, traced.shape, classes, options) if isinstance(model, str) else model
    channels, height, width = traced.shape
    fields = effective_fields(network, (channels, height, width), traced.traced.layers, names)
    try:
        draw_fields(fields, path)
    except OSError as error:
        raise blame(error, "--effective") from None
    return [EffectiveCosts(one.layer, list(one.theoretical), round(one.effective, 1)) for one in fields]


def _anchors(name: str, shape: tuple[int, ...], classes: int, options: dict[str, Any]) -> list[list[float]]:
    detector = _network(name, shape, classes, options)
    assert isinstance(detector, Detector)
    boxes = anchors_of(detector, shape[0], shape[1])
    return [] if boxes is None else [list(one) for one in shapes_of(boxes)]


def _time(
    model: str | nn.Module, traced: TracedNetwork, classes: int, optimizer: str, options: dict[str, Any]
) -> MeasuredTime:
    """Time every layer of a network with weights; a module that the user gave is copied, since training changes it."""
    network = _network(model, traced.shape, classes, options) if isinstance(model, str) else deepcopy(model)
    config = OptimConfig(name=optimizer, lr=1e-9)  # type: ignore[arg-type]
    batch = torch.randn(traced.memory.batch_size, *traced.shape)
    return MeasuredTime(**vars(time_layers(network, batch, lambda module: build_optimizer(module, config))))


def _plot(path: Path, layers: list[Layer], shape: tuple[int, ...], name: str) -> None:
    if path.suffix not in (".png", ".svg"):
        raise refusal("--plot", message("analysis.wanted.png_svg_file", "a .png or .svg file"), str(path))
    drawing = draw(layers, shape, name)
    try:
        path.write_text(svg(drawing), encoding="utf-8") if path.suffix == ".svg" else write_png(drawing, path)
    except OSError as error:
        raise blame(error, "--plot") from None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:160]

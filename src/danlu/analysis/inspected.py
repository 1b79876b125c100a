"""Results of `danlu.inspect` and of comparing networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from danlu.run.result import Result


@dataclass(frozen=True, eq=False, repr=False)
class LayerCosts(Result):
    """One layer of a network; costs are per sample."""

    name: str  # of the module, as "stage1.0"
    kind: str  # class of the module
    detail: str  # kernel, stride, groups, ...
    output: list[int]  # shape of the output, without the batch dimension
    parameters: int
    multiply_adds: int
    activation_bytes: int
    used: bool  # whether the forward pass runs it
    receptive_field: list[int] | None = None  # input pixels per image axis; None for rows of numbers
    jump: list[float] | None = None  # input pixels between neighbouring outputs; None where all see the same pixels

    ALWAYS: ClassVar[tuple[str, ...]] = ("receptive_field", "jump")


@dataclass(frozen=True, eq=False, repr=False)
class EffectiveCosts(Result):
    """Effective receptive field of a layer, see `danlu.inspection.effective.EffectiveField`."""

    layer: str
    theoretical: list[int]  # height and width in pixels, at most those of the image
    effective: float  # side in pixels of a square with the area of the pixels that count


@dataclass(frozen=True, eq=False, repr=False)
class MemoryCosts(Result):
    """Bytes of one training step, see `danlu.inspection.memory.TrainingMemory`."""

    batch_size: int
    parameters: int  # parameters and buffers
    gradients: int
    optimizer_state: int
    activations: int  # tensors kept for the backward pass
    total: int
    optimizer: str  # update rule


@dataclass(frozen=True, eq=False, repr=False)
class VCDimension(Result):
    """Estimated VC dimension, see `danlu.inspection.dominance.vc_dimension`."""

    estimate: float
    basis: str  # exact, or an order of magnitude, in words


@dataclass(frozen=True, eq=False, repr=False)
class MeasuredTime(Result):
    """Median seconds per batch on this machine, see `danlu.inspection.timing.Timed`."""

    batch_size: int
    repeats: int  # measured steps
    device: str
    forward: float
    backward: float
    step: float
    layers: Mapping[str, Mapping[str, float]]  # layer -> {"forward", "backward", "step"}


@dataclass(frozen=True, eq=False, repr=False)
class InspectedNetwork(Result):
    """Layers, costs and memory of a network; costs are per sample."""

    model: str  # name, or class of the module
    input: list[int]  # (C, H, W) of an image, or (D,) of a row
    parameters: int
    multiply_adds: int
    activation_bytes: int
    depth: int  # convolutions and dense layers on the longest path
    memory: MemoryCosts
    vc_dimension: VCDimension
    dominates: list[str]  # sentences: the layers with the largest fraction of each cost
    layers: list[LayerCosts]  # that the forward pass runs, or that have parameters
    time: MeasuredTime | None = None  # with time=True
    effective: list[EffectiveCosts] | None = None  # with effective=FILE
    anchors: list[list[float]] | None = None  # of a detector: width, height in pixels, number; [] without anchors

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.input))
        counts = f"{self.parameters:,} parameters, {self.multiply_adds:,} multiply-adds"
        return f"InspectedNetwork({self.model} on {shape}: {counts}, {len(self.layers)} layers)"

    __str__ = __repr__


@dataclass(frozen=True, eq=False, repr=False)
class NetworkComparison(Result):
    """Two or more networks, layer by layer. The JSON key of `fractions` is "shares"."""

    models: list[str]
    rows: list[dict[str, Any]]  # see `danlu.inspection.comparison.compare`
    fractions: Mapping[str, Mapping[str, Mapping[str, float]]]  # network -> family of layers -> cost -> fraction
    branched: Mapping[str, list[dict[str, Any]]]  # network -> blocks with branches beside one convolution
    dominates: Mapping[str, list[str]]  # network -> sentences, as in `InspectedNetwork`

    KEYS: ClassVar[Mapping[str, str]] = {"fractions": "shares"}

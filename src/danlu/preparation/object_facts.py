"""Facts about objects and detector that are recorded for the doctor before a training."""

from __future__ import annotations

from collections import Counter, defaultdict

import torch
from torch import Tensor, nn

from danlu.detection.detector import Detector
from danlu.doctor.ledger import Ledger
from danlu.inspection.layers import trace
from danlu.preparation.object_sizes import boxes_on_canvas, object_sizes
from danlu.preparation.prepared import Prepared

TINY_SIDE = 4.0  # pixels of the network input; objects with a shorter side are hardly visible
MAX_EXAMPLES = 5  # samples named for each kind of fault
MAX_QUANTILE_VALUES = 100_000  # values a quantile is computed from
QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)


def record_object_facts(ledger: Ledger, prepared: Prepared, model: nn.Module) -> None:
    """Add object.*, anchor.*, model.receptive_field and model.finest_stride to the ledger; nothing for other tasks.

    model: the detector, or one of the same architecture; it is not changed.
    """
    if prepared.objects is None or not isinstance(model, Detector):
        return
    _record_faults(ledger, prepared)
    boxes = boxes_on_canvas(prepared)
    if len(boxes):
        sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0)
        ledger.add("object.longer", _quantiles(sides.amax(1)), step=0)
        ledger.add("object.shorter", _quantiles(sides.amin(1)), step=0)
        sizes = object_sizes(prepared, model)
        if "covered" in sizes:
            coverage = [-1.0 if fraction is None else fraction for fraction in sizes["coverage"]]
            for name, value in (("covered", sizes["covered"]), ("edges", sizes["edges"]), ("coverage", coverage)):
                ledger.add(f"anchor.{name}", value, step=0)
            ledger.add("anchor.objects", sizes["counts"], step=0)
    _record_feature_maps(ledger, prepared, model)


def _record_faults(ledger: Ledger, prepared: Prepared) -> None:
    """Number of objects, and of faulty annotations by kind, with examples."""
    assert prepared.objects is not None
    faults, examples = Counter[str](), defaultdict[str, list[str]](list)
    for problem in prepared.dataset.problems:
        if problem.fault:
            faults[problem.fault] += 1
            examples[problem.fault].append(problem.where)
    skipped = sum(p.done == "skipped" for p in prepared.dataset.problems if p.fault)
    annotations, placements = prepared.objects.annotations, prepared.objects.placements
    for i, (one, placement) in enumerate(zip(annotations, placements)):
        boxes = placement.boxes(one.boxes[~one.ignore])
        small = int(((boxes[:, 2:] - boxes[:, :2]).amin(1) < TINY_SIDE).sum()) if len(boxes) else 0
        if small:
            faults["tiny"] += small
            examples["tiny"].append(prepared.dataset.name_of(i))
    ledger.add("object.count", sum(prepared.objects.counts) + skipped, step=0)
    for fault, count in faults.items():
        ledger.add("object.faults", count, fault, 0)
        ledger.add("object.examples", examples[fault][:MAX_EXAMPLES], fault, 0)


def _record_feature_maps(ledger: Ledger, prepared: Prepared, model: Detector) -> None:
    """Canvas size, smallest stride of the feature maps, largest receptive field, in pixels of the input."""
    side, channels = prepared.signature.size or 0, prepared.signature.channels or 3
    ledger.add("object.canvas", side, step=0)
    maps = getattr(model, "neck", model)
    strides = [float(stride) for stride in getattr(maps, "strides", ()) if stride]
    if not strides:  # R-CNN classifies crops of the image and has no feature maps
        return
    ledger.add("model.finest_stride", min(strides), step=0)
    layers = trace(model, torch.zeros(1, channels, side, side)).layers
    fields = [min(layer.receptive_field) for layer in layers if layer.receptive_field]
    if fields:
        ledger.add("model.receptive_field", min(max(fields), side), step=0)


def _quantiles(values: Tensor) -> list[float]:
    chosen = values[:: -(-len(values) // MAX_QUANTILE_VALUES)]
    return [round(v, 2) for v in chosen.quantile(torch.tensor(QUANTILES)).tolist()]

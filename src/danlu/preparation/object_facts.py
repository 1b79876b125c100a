"""What the doctor is told of the objects to be found, before training: boxes, sizes, and the network's maps."""

from __future__ import annotations

from collections import Counter, defaultdict

import torch
from torch import Tensor, nn

from danlu.detection.detector import Detector
from danlu.doctor.ledger import Ledger
from danlu.inspection.layers import trace
from danlu.preparation.object_sizes import boxes_on_canvas, object_sizes
from danlu.preparation.prepared import Prepared

TINY = 4.0  # pixels of the network's input below which a side shows nothing
EXAMPLES = 5  # of each fault
QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)


def tell_of_objects(ledger: Ledger, prepared: Prepared, model: nn.Module) -> None:
    """Write object.*, anchor.* and model.receptive_field and finest_stride; nothing where no objects are to be found.

    model: the detector that is to be trained, or one built alike; it is left as it was.
    """
    if prepared.objects is None or not isinstance(model, Detector):
        return
    _tell_faults(ledger, prepared)
    boxes = boxes_on_canvas(prepared)
    if len(boxes):
        sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0)
        ledger.add("object.longer", _quantiles(sides.amax(1)), step=0)
        ledger.add("object.shorter", _quantiles(sides.amin(1)), step=0)
        sizes = object_sizes(prepared, model)
        if "covered" in sizes:
            shares = [-1.0 if share is None else share for share in sizes["coverage"]]
            for name, value in (("covered", sizes["covered"]), ("edges", sizes["edges"]), ("coverage", shares)):
                ledger.add(f"anchor.{name}", value, step=0)
            ledger.add("anchor.objects", sizes["counts"], step=0)
    _tell_maps(ledger, prepared, model)


def _tell_faults(ledger: Ledger, prepared: Prepared) -> None:
    assert prepared.objects is not None
    faults, examples = Counter[str](), defaultdict[str, list[str]](list)
    for problem in prepared.dataset.problems:
        if problem.fault:
            faults[problem.fault] += 1
            examples[problem.fault].append(problem.where)
    spoilt = sum(p.done == "skipped" for p in prepared.dataset.problems if p.fault)
    annotations, placements = prepared.objects.annotations, prepared.objects.placements
    for i, (one, placement) in enumerate(zip(annotations, placements)):
        boxes = placement.boxes(one.boxes[~one.ignore])
        small = int(((boxes[:, 2:] - boxes[:, :2]).amin(1) < TINY).sum()) if len(boxes) else 0
        if small:
            faults["tiny"] += small
            examples["tiny"].append(prepared.dataset.name_of(i))
    ledger.add("object.count", sum(prepared.objects.counts) + spoilt, step=0)
    for fault, count in faults.items():
        ledger.add("object.faults", count, fault, 0)
        ledger.add("object.examples", examples[fault][:EXAMPLES], fault, 0)


def _tell_maps(ledger: Ledger, prepared: Prepared, model: Detector) -> None:
    side, channels = prepared.signature.size or 0, prepared.signature.channels or 3
    ledger.add("object.canvas", side, step=0)
    maps = getattr(model, "neck", model)
    strides = [float(stride) for stride in getattr(maps, "strides", ()) if stride]
    if not strides:  # it cuts its regions out of the pixels
        return
    ledger.add("model.finest_stride", min(strides), step=0)
    layers = trace(model, torch.zeros(1, channels, side, side)).layers
    fields = [min(layer.receptive_field) for layer in layers if layer.receptive_field]
    if fields:
        ledger.add("model.receptive_field", min(max(fields), side), step=0)


def _quantiles(values: Tensor) -> list[float]:
    chosen = values[:: -(-len(values) // 100_000)]
    return [round(v, 2) for v in chosen.quantile(torch.tensor(QUANTILES)).tolist()]

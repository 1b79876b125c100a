"""Findings about what the network gives out: it must fit the loss, and the loss the targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import Phrase
from danlu.doctor.rules.progress import epoch_samples

SQUARED = ("mse", "half_mse", "l1", "smooth_l1", "huber")
MENDED = {  # what is wrong with the outputs -> which line to change, and how
    "shapes": "Give both one shape: loss = loss_fn(outputs, y.view_as(outputs)).",
    "outputs": "Change {}: let it give {} outputs.",
    "layer": "Delete {}, the nn.{} at the end of the model: let it return the scores that go into it.",
    "function": "In forward(), return the scores themselves: return x in place of return torch.{}(x).",
    "bce, scores": "loss_fn = nn.BCEWithLogitsLoss(), which applies the sigmoid itself.",
    "bce": "Replace {} at the end of the model by nn.Sigmoid(), or delete it and use nn.BCEWithLogitsLoss().",
    "nll, scores": "loss_fn = nn.CrossEntropyLoss() in place of nn.NLLLoss(); or return torch.log_softmax(x, dim=1).",
    "nll": "Delete {} at the end of the model and use nn.CrossEntropyLoss(); or put nn.LogSoftmax(dim=1) in its place.",
}
RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, math.inf), "softmax": (0.0, 1.0)}


def output_mismatch(ledger: Ledger) -> Iterable[Finding]:
    """What is applied to the outputs last must fit the loss."""
    kind, last = ledger.last("loss.kind"), ledger.last("output.activation")
    shapes = ledger.last("target.broadcast")
    if shapes:
        problem = Phrase("shapes {} broadcast to every pair of samples", shapes)
        facts = {"loss": kind, "activation": "none", "problem": problem, "last": "none"}
        facts |= {"wanted": Phrase("targets of the outputs' shape"), "do": Phrase(MENDED["shapes"])}
        yield Finding("model.output_mismatch", "error", 0.97, Phrase("output"), facts)
        return
    problem = _activation_problem(ledger, kind, last)
    if problem:
        severity, confidence, wanted = problem
        layer = _applied_last(ledger, str(last))
        facts = {"loss": kind, "activation": last, "wanted": wanted, "layer": layer}
        facts["problem"] = Phrase("{} before {}" if last != "none" else "plain scores before {1}", last, kind)
        facts["do"], facts["last"] = _line_to_change(ledger, str(kind), str(last), layer), _called(str(last), layer)
        yield Finding("model.output_mismatch", severity, confidence, layer or Phrase("output"), facts)
        return
    tops = [top for phase in ("train", "val") for top in ledger.values("target.max", phase)]
    outputs, top = ledger.last("output.count"), max(tops, default=None)
    if kind not in ("cross_entropy", "nll") or top is None or not outputs:
        return
    unused, samples = outputs - (top + 1), epoch_samples(ledger)
    if unused > top + 1 or (unused >= 1 and samples >= 50 * outputs):  # so many samples, and never one of that class
        facts = {"loss": kind, "activation": last, "outputs": outputs, "classes": int(top) + 1}
        facts |= {"problem": Phrase("{} outputs for {} classes", outputs, int(top) + 1)}
        facts |= {"wanted": Phrase("{} outputs", int(top) + 1), "last": _called(str(last), ""), "layer": _head(ledger)}
        facts["do"] = Phrase(MENDED["outputs"], _in_code(facts["layer"]) or Phrase("the last layer"), int(top) + 1)
        yield Finding("model.output_mismatch", "note", 0.6, Phrase("output"), facts)


def _activation_problem(ledger: Ledger, kind: str | None, last: str | None) -> tuple[str, float, str] | None:
    if kind is None or last is None:
        return None
    table = {
        "cross_entropy": {"softmax": 0.97, "sigmoid": 0.95, "relu": 0.93, "tanh": 0.85},
        "nll": {"none": 0.97, "softmax": 0.97, "sigmoid": 0.95, "relu": 0.95, "tanh": 0.95},
        "bce": {"none": 0.95, "relu": 0.95, "tanh": 0.95},
        "bce_logits": {"sigmoid": 0.97, "softmax": 0.95, "relu": 0.93, "tanh": 0.85},
    }
    wanted = {
        "cross_entropy": Phrase("plain scores (logits)"),
        "nll": "log_softmax",
        "bce": Phrase("sigmoid (or bce_with_logits without it)"),
        "bce_logits": Phrase("plain scores (logits)"),
    }
    if kind in table and last in table[kind]:
        return "error", table[kind][last], wanted[kind]
    if kind in SQUARED and last in RANGES and ledger.last("target.kind") == "values":
        low, high = RANGES[last]
        smallest, largest = ledger.last("target.min", "train"), ledger.last("target.max", "train")
        if smallest is not None and (smallest < low - 1e-3 or largest > high + 1e-3):
            return "error", 0.95, Phrase("no {}: targets reach from {:.3g} to {:.3g}", last, smallest, largest)
    return None


def _applied_last(ledger: Ledger, activation: str) -> str:
    """Name of the layer that applies the activation to the outputs; "" where forward() calls a function."""
    order = ledger.facts("layer.order")
    layers = [n for n, kind in ledger.facts("layer.activation").items() if kind == activation and n in order]
    end = max(order.values(), default=-1)
    return next((layer for layer in layers if order[layer] == end), "")


def _head(ledger: Ledger) -> str:
    """The linear layer that gives the outputs, where there is but one."""
    last = [layer for layer, is_last in ledger.facts("layer.last").items() if is_last]
    return last[0] if len(last) == 1 else ""


def _in_code(layer: str) -> str:
    """net.3 as model.net[3]"""
    parts = [f"[{part}]" if part.isdigit() else f".{part}" for part in layer.split(".")]
    return "model" + "".join(parts) if layer else ""


def _called(activation: str, layer: str) -> Phrase:
    """The last thing applied, by its kind and its place in the code."""
    if activation in ("none", "None"):
        return Phrase("a linear layer, whose outputs are plain scores")
    return Phrase("{} ({})", activation, _in_code(layer)) if layer else Phrase("{} in forward()", activation)


def _line_to_change(ledger: Ledger, kind: str, last: str, layer: str) -> Phrase:
    """What to do to which line."""
    name = _in_code(layer) if layer else last
    if kind == "bce":
        return Phrase(MENDED["bce, scores" if last == "none" else "bce"], name)
    if kind == "nll":
        return Phrase(MENDED["nll, scores" if last == "none" else "nll"], name)
    if layer:
        return Phrase(MENDED["layer"], name, ledger.last("layer.kind", layer, last))
    return Phrase(MENDED["function"], last)


def loss_mismatch(ledger: Ledger) -> Iterable[Finding]:
    """The loss must fit what is predicted: classes, several labels, values."""
    kind, outputs, targets = ledger.last("loss.kind"), ledger.last("output.count"), ledger.last("target.kind")
    distinct, batch = ledger.last("target.distinct", default=0), ledger.first("batch.size", default=0)
    facts = {"loss": kind, "outputs": outputs, "targets": Phrase(str(targets)), "distinct": distinct}
    if kind == "cross_entropy" and outputs == 1 and len(ledger.last("output.shape", default=[])) > 1:
        yield Finding("model.loss_mismatch", "error", 0.99, Phrase("loss"), facts | {"better": "BCEWithLogitsLoss"})
    elif kind in SQUARED and targets == "one_hot":
        yield Finding("model.loss_mismatch", "warning", 0.85, Phrase("loss"), facts | {"better": "CrossEntropyLoss"})
    elif kind in SQUARED and targets in ("binary", "classes"):
        better = "BCEWithLogitsLoss" if distinct <= 2 else "CrossEntropyLoss"
        yield Finding("model.loss_mismatch", "warning", 0.85, Phrase("loss"), facts | {"better": better})
    elif kind in SQUARED and ledger.last("target.whole") and distinct <= 20 and batch >= 2 * distinct:
        yield Finding("model.loss_mismatch", "warning", 0.75, Phrase("loss"), facts | {"better": "CrossEntropyLoss"})
    elif kind in ("bce", "bce_logits") and targets == "one_hot" and (outputs or 0) > 2:
        yield Finding("model.loss_mismatch", "warning", 0.7, Phrase("loss"), facts | {"better": "CrossEntropyLoss"})


RULES: dict[str, Callable[[Ledger], Iterable[Finding]]] = {
    "model.output_mismatch": output_mismatch,
    "model.loss_mismatch": loss_mismatch,
}

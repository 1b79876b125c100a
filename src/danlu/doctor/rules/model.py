"""Findings about the model's structure, known at the first step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import Phrase
from danlu.doctor.rules.progress import descent, epoch_samples, skills


def no_nonlinearity(ledger: Ledger) -> Iterable[Finding]:
    """Stacked linear maps are one linear map. A narrow middle (low rank, autoencoder) or groups are meant so."""
    pairs = []
    groups = ledger.facts("layer.groups")
    for second, first in ledger.facts("layer.linear_after").items():
        middle = _width(ledger, "layer.input_shape", second)
        narrow = middle < min(_width(ledger, "layer.input_shape", first), _width(ledger, "layer.output_shape", second))
        if not narrow and groups.get(first, 1) == 1 and groups.get(second, 1) == 1:
            pairs.append((first, second))
    if not pairs:
        return
    links = ledger.last("layer.linear_links", default=len(pairs))
    everywhere = len(pairs) >= links
    hidden = [p for p in pairs if not ledger.last("layer.linear_via_norm", p[1], 0)]
    confidence = 0.97 if everywhere else 0.9 if hidden else 0.75
    evidence = {"pairs": len(pairs), "links": links, "first": pairs[0][0], "second": pairs[0][1]}
    severity = "error" if everywhere else "warning"
    yield Finding("model.no_nonlinearity", severity, confidence, pairs[0][1], evidence)


def bad_init(ledger: Ledger) -> Iterable[Finding]:
    """Constant weights; scale that grows or shrinks with depth (Glorot and Bengio 2010; He et al. 2015); first loss."""
    constant = _constant_weights(ledger)
    if constant:
        problem = Phrase("{} weights hold one constant value", len(constant))
        facts = {"problem": problem, "parameters": constant[:8]}
        yield Finding("model.bad_init", "error", 0.95, constant[0], facts)
        return
    owners = ledger.facts("parameter.layer")
    zero = {owners.get(name) for name, flat in ledger.facts("parameter.constant").items() if flat and "weight" in name}
    layers = [layer for layer in _linear_in_order(ledger) if layer not in zero]
    scales = [(layer, ledger.first("activation.std", layer)) for layer in layers]
    scales = [(layer, scale) for layer, scale in scales if scale is not None and not math.isnan(scale)]
    if len(scales) >= 4 and min(scale for _, scale in scales) >= 0:
        first, last = max(scales[0][1], 1e-30), max(scales[-2][1], 1e-30)
        factor = (last / first) ** (1 / (len(scales) - 2))
        if (factor < 0.55 and last / first < 3e-3) or (factor > 2 and last / first > 300):
            sentence = f"the scale {'shrinks' if factor < 1 else 'grows'} by a factor {{:.2g}} per layer"
            facts = {"problem": Phrase(sentence, factor), "factor": factor}
            facts |= {"first": first, "last": last, "layers": len(scales)}
            yield Finding("model.bad_init", "warning", 0.9, scales[-2][0], facts)
            return
    loss, outputs = ledger.last("loss.initial"), ledger.last("output.count", default=0)
    if (
        ledger.last("loss.kind") in ("cross_entropy", "nll")
        and outputs > 1
        and loss is not None
        and not math.isnan(loss)
    ):
        expected = math.log(outputs)
        if loss > 3 * expected + 1:
            sentence = "the first loss is {:.3g}, that of guessing is ln {} = {:.3g}"
            facts = {"problem": Phrase(sentence, loss, outputs, expected), "loss": loss, "expected": expected}
            yield Finding("model.bad_init", "warning", min(0.9, 0.5 + 0.05 * loss / expected), Phrase("output"), facts)


def unreached(ledger: Ledger) -> Iterable[Finding]:
    """Trainable parameters to which no gradient comes: unused, or cut off by detach(), no_grad() or .data."""
    if not ledger.has("parameter.reached"):
        return
    trainable = [n for n, value in ledger.facts("parameter.trainable").items() if value]
    missing = [n for n in trainable if not ledger.last("parameter.reached", n, 1)]
    if not trainable or not missing or len(missing) == len(trainable):
        return  # none at all: loop.no_update
    sizes = ledger.facts("parameter.size")
    share = sum(sizes.get(n, 0) for n in missing) / max(1, sum(sizes.get(n, 0) for n in trainable))
    facts = {"parameters": missing[:8], "count": len(missing), "share": share}
    yield Finding("model.unreached", "error" if share > 0.05 else "warning", 0.93, missing[0], facts)


def bias_before_norm(ledger: Ledger) -> Iterable[Finding]:
    """Batch normalisation subtracts the mean, and with it any bias before it (Ioffe and Szegedy 2015, section 3.2)."""
    pairs = ledger.facts("layer.bias_before_norm")
    if pairs:
        norm, layer = next(iter(pairs.items()))
        yield Finding("model.bias_before_norm", "note", 0.95, layer, {"norm": norm, "count": len(pairs)})


def too_small(ledger: Ledger) -> Iterable[Finding]:
    """What passes through the narrowest layer cannot tell the classes apart; or a linear model whose loss stands still
    far from zero, alike in training and validation."""
    skill, val_skill = (skills(ledger, "train") or [None])[-1], (skills(ledger, "val") or [None])[-1]
    layers, outputs = _linear_in_order(ledger), ledger.last("output.count", default=1)
    if skill is None or val_skill is None or not layers or not math.isfinite(skill):
        return
    widths = {layer: _out_width(ledger, layer) for layer in layers[:-1]}
    epochs = len(ledger.values("loss.mean", "train"))
    facts = {"skill": skill, "val_skill": val_skill, "layers": len(layers), "outputs": outputs}
    if widths and ledger.last("target.kind") == "classes":
        layer = min(widths, key=widths.__getitem__)
        norms = [n for n, kind in ledger.facts("layer.kind").items() if kind == "LayerNorm" and _normed(ledger, n) == 1]
        if widths[layer] < 4 and widths[layer] < 0.5 * outputs and skill < 0.8 and not norms:
            what = Phrase("{} has {} outputs for {} classes", layer, widths[layer], outputs)
            facts |= {"what": what, "width": widths[layer]}
            severity = "warning" if len(layers) <= 4 else "note"  # in deep nets it may lie on a side branch
            yield Finding("model.too_small", severity, 0.9, layer, facts)
            return
    late = descent(ledger)
    if widths or epochs < 5 or late is None or late > 0.05 or skill > 0.85 or skill - val_skill > 0.1:
        return
    facts |= {"what": Phrase("there is no hidden layer"), "width": 0}
    if skill > 0.05:
        yield Finding("model.too_small", "note", 0.7, layers[0], facts)
    elif abs(skill) < 0.05:
        yield Finding("model.too_small", "warning", 0.6, layers[0], facts)


def too_large(ledger: Ledger) -> Iterable[Finding]:
    """A thousand weights and more for each sample, all samples known by heart, and validation that shows it."""
    weights, samples = sum(ledger.facts("parameter.size").values()), epoch_samples(ledger)
    skill, val_skill = (skills(ledger, "train") or [None])[-1], (skills(ledger, "val") or [None])[-1]
    if skill is None or val_skill is None or not samples:
        return
    facts = {"weights": weights, "samples": samples, "ratio": weights / samples, "skill": skill, "val_skill": val_skill}
    if weights > 1000 * samples and skill > 0.97 and skill - val_skill > 0.1:
        yield Finding("model.too_large", "note", 0.8, "", facts)


def _out_width(ledger: Ledger, layer: str) -> int:
    shape = ledger.last("layer.output_shape", layer) or [0, 10**9]
    return shape[1] if str(ledger.last("layer.kind", layer)).startswith("Conv") else shape[-1]


def _normed(ledger: Ledger, layer: str) -> int:
    return (ledger.last("layer.output_shape", layer) or [0])[-1]


def _constant_weights(ledger: Ledger) -> list[str]:
    """Weights that are one constant, so that units begin alike and stay so. The outputs' and the norms' may begin so;
    and so may a few others begin at zero, unless no gradient comes to them (the last of a residual branch)."""
    order = ledger.facts("parameter.order")
    weights = [n for n, role in ledger.facts("parameter.role").items() if role in ("weight", "embedding")]
    weights.sort(key=lambda n: order.get(n, 0))
    constant = [
        n
        for n in weights
        if ledger.last("parameter.constant", n, 0)
        and ledger.last("parameter.size", n, 0) > 8
        and max(ledger.last("parameter.shape", n, [2, 2])[1:], default=1) > 1  # else a gain per channel: it may
    ]
    layers, last = ledger.facts("parameter.layer"), ledger.facts("layer.last")
    outputs = [n for n in weights if last.get(layers.get(n, ""))] or weights[-1:]
    constant = [n for n in constant if n not in outputs]
    zeros = [
        n for n in constant if not ledger.last("parameter.mean", n) and not ledger.last("parameter.gradient_zero", n, 0)
    ]
    return constant if len(zeros) < len(constant) or 2 * len(zeros) > len(weights) else []


def _linear_in_order(ledger: Ledger) -> list[str]:
    kinds = ledger.facts("layer.kind")
    order = ledger.facts("layer.order")
    return sorted((n for n, k in kinds.items() if k == "Linear" or k.startswith("Conv")), key=lambda n: order[n])


def _width(ledger: Ledger, name: str, layer: str) -> int:
    shape = ledger.last(name, layer)
    if not shape or len(shape) < 2:
        return 10**9
    return shape[1] if str(ledger.last("layer.kind", layer)).startswith("Conv") else shape[-1]


RULES: dict[str, Callable[[Ledger], Iterable[Finding]]] = {
    "model.no_nonlinearity": no_nonlinearity,
    "model.bad_init": bad_init,
    "model.unreached": unreached,
    "model.bias_before_norm": bias_before_norm,
    "model.too_small": too_small,
    "model.too_large": too_large,
}

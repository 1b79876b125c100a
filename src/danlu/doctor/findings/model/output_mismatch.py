"""Finding model.output_mismatch: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable

from danlu.doctor.derived.dropout_at_end import dropout_at_end
from danlu.doctor.derived.layers import output_layers
from danlu.doctor.derived.progress import epoch_samples
from danlu.doctor.derived.scores_in_loss import scores_in_loss
from danlu.doctor.derived.softmax_axis import wrong_axis
from danlu.doctor.drawings.over_layers import outputs_and_loss
from danlu.doctor.drawings.over_time import loss_and_floor
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.loss.loss_kind import NAMES, SQUARED, loss_name
from danlu.doctor.phrase import message
from danlu.doctor.places import OUTPUT, layer_place
from danlu.message import Message

NOISE_BEYOND = 0.1  # of the range of an activation, by which targets may exceed it as noise does
RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, math.inf), "softmax": (0.0, 1.0)}

MIN_COSINE_CLASSES = 6  # from here cosines as scores leave the right class a probability below 0.6
SCORED = ("cross_entropy", "bce_logits")  # losses on scores of any size
COSINE_WANTED = message(
    "finding.model.output_mismatch.cosine_wanted",
    "scores of any size: between -1 and 1 the right class never gets a high probability, and the loss stays high",
)
COSINE_FIX = message(
    "finding.model.output_mismatch.temperature",
    "Divide the similarities by a temperature of 0.03 to 0.2, or multiply them by a learnable scale.",
)
ONE_EACH = message(
    "finding.model.output_mismatch.one_each",
    "one sigmoid for each label, where a sample has any number of labels: those of softmax sum to 1",
)


def output_mismatch(ledger: Ledger) -> Iterable[Finding]:
    """The last activation does not fit the loss."""
    for check in (_broadcast, wrong_axis, dropout_at_end, scores_in_loss, _wrong_activation, _unused_outputs):
        if (found := check(ledger)) is not None:
            yield found
            return


def _broadcast(ledger: Ledger) -> Finding | None:
    """Outputs and targets whose shapes broadcast, so that each output is compared with each target."""
    kind, shapes = ledger.last("loss.kind"), ledger.last("target.broadcast")
    if not shapes:
        return None
    problem = message(
        "finding.model.output_mismatch.shapes", "shapes {shapes} broadcast to every pair of samples", shapes=shapes
    )
    why = message(
        "finding.model.output_mismatch.every_pair",
        "Outputs and targets have the shapes {shapes}. {loss} compares each output with each target of the batch, so "
        "that every output learns the mean of the targets",
        shapes=shapes,
        loss=loss_name(kind) if kind else message("finding.model.output_mismatch.the_loss", "The loss"),
    )
    fix = message("finding.model.output_mismatch.fix_shapes", "Give outputs and targets the same shape.")
    facts = {"loss": kind, "activation": "none", "problem": problem, "last": "none"}
    return Finding("model.output_mismatch", "error", 0.97, OUTPUT, facts | {"why": why, "fix": "shapes", "do": fix})


def _wrong_activation(ledger: Ledger) -> Finding | None:
    """A last activation, or none, that the loss does not expect."""
    kind, last = ledger.last("loss.kind"), ledger.last("output.activation")
    problem = _activation_problem(ledger, kind, last)
    if problem is None:
        return None
    severity, confidence, wanted = problem
    if last == "log_softmax":  # it fits the loss; the layer before it does not
        kind, last = "log_softmax", ledger.last("output.activation_before")
    layer = _applied_last(ledger, str(last))
    facts = {"loss": kind, "activation": last, "wanted": wanted, "layer": layer}
    facts["problem"] = _before(str(last), loss_name(kind) if kind != "log_softmax" else kind)
    facts["do"] = COSINE_FIX if last == "cosine" else _line_to_change(ledger, str(kind), str(last), layer)
    facts["last"] = _called(str(last), layer)
    facts["why"] = expects(loss_name(kind) if kind != "log_softmax" else "log_softmax", wanted, facts["last"])
    facts["fix"] = _snippet(str(kind), str(last), layer)
    return Finding("model.output_mismatch", severity, confidence, layer or OUTPUT, facts)


def _unused_outputs(ledger: Ledger) -> Finding | None:
    """More outputs than classes among the labels."""
    kind, last = ledger.last("loss.kind"), ledger.last("output.activation")
    tops = [top for phase in ("train", "val") for top in ledger.values("target.max", phase)]
    outputs, top = ledger.last("output.count"), max(tops, default=None)
    if kind not in ("cross_entropy", "nll") or ledger.last("target.kind") != "classes" or top is None or not outputs:
        return None
    unused, classes = outputs - (top + 1), int(top) + 1
    if unused <= top + 1 and (unused < 1 or epoch_samples(ledger) < 50 * outputs):  # too few samples to say so
        return None
    layer = _head(ledger)
    problem = message(
        "finding.model.output_mismatch.unused",
        "{outputs} outputs for {classes} classes",
        outputs=outputs,
        classes=classes,
    )
    why = message(
        "finding.model.output_mismatch.no_label",
        "The model has {outputs} outputs, while the largest label is {top}: the model has to learn that the others never "
        "occur",
        outputs=outputs,
        top=int(top),
    )
    fix = message(
        "finding.model.output_mismatch.fix_outputs",
        "If there are no other classes, give {layer} {outputs} outputs.",
        layer=layer_place(layer) or message("finding.model.output_mismatch.last_layer", "the last layer"),
        outputs=classes,
    )
    facts = {"loss": kind, "activation": last, "outputs": outputs, "classes": classes, "problem": problem}
    facts |= {"layer": layer, "why": why, "do": fix}
    return Finding("model.output_mismatch", "note", 0.6, OUTPUT, facts)


def _activation_problem(ledger: Ledger, kind: str | None, last: str | None) -> tuple[str, float, Message | str] | None:
    if kind is None or last is None or _is_of_chosen_range(ledger, last):
        return None
    table = {
        "cross_entropy": {"softmax": 0.97, "sigmoid": 0.95, "relu": 0.93, "tanh": 0.85, "cosine": 0.9},
        "nll": {
            "none": 0.97,
            "cosine": 0.97,
            "softmax": 0.97,
            "sigmoid": 0.95,
            "relu": 0.95,
            "tanh": 0.95,
            "log_sigmoid": 0.85,
        },
        "bce": {"none": 0.95, "cosine": 0.95, "relu": 0.95, "tanh": 0.95},
        "kl": {"softmax": 0.97, "sigmoid": 0.95, "relu": 0.95},
        "bce_logits": {"sigmoid": 0.97, "softmax": 0.95, "relu": 0.93, "tanh": 0.85},
    }
    wanted = {
        "cross_entropy": message("finding.model.output_mismatch.scores", "plain scores (logits)"),
        "nll": "log_softmax",
        "bce": message("finding.model.output_mismatch.sigmoid", "sigmoid (or bce_with_logits without it)"),
        "bce_logits": message("finding.model.output_mismatch.scores", "plain scores (logits)"),
        "kl": "log_softmax",
    }
    if last in ("softmax", "log_softmax") and has_any_number_of_labels(ledger):
        return "error", 0.93, ONE_EACH
    if kind in table and last in table[kind]:
        return "error", table[kind][last], COSINE_WANTED if last == "cosine" else wanted[kind]
    before = ledger.last("output.activation_before")
    if kind == "nll" and last == "log_softmax" and before in table["cross_entropy"]:
        return "error", table["cross_entropy"][before], wanted["cross_entropy"]
    own = kind not in NAMES and ledger.last("target.shape") == ledger.last("output.shape")  # a loss of the user
    as_it_is = last in RANGES and not ledger.last("output.scaled")
    by_hand = ledger.last("loss.target_range")
    if as_it_is and (kind in SQUARED or own) and (by_hand or ledger.last("target.kind") == "values"):
        low, high = RANGES[last]
        smallest, largest = by_hand or (ledger.last("target.min", "train"), ledger.last("target.max", "train"))
        slack = max(1e-3, NOISE_BEYOND * (high - low)) if math.isfinite(high) else 1e-3
        if smallest is not None and (smallest < low - slack or largest > high + slack):
            return (
                "error",
                0.95,
                message(
                    "finding.model.output_mismatch.range",
                    "no {activation}: targets reach from {low:.3g} to {high:.3g}",
                    activation=last,
                    low=smallest,
                    high=largest,
                ),
            )
    return None


def has_any_number_of_labels(ledger: Ledger) -> bool:
    """Return whether targets are rows of 0 and 1, one for each output, with other sums than 1."""
    shape = ledger.last("output.shape", default=[])
    return (
        len(shape) == 2
        and shape[1] > 1
        and ledger.last("target.kind") == "binary"
        and (ledger.last("target.shape") == shape)
    )


def _is_of_chosen_range(ledger: Ledger, last: str) -> bool:
    """Return whether scores are bounded on purpose: 10 * tanh(x), or cosines of few classes, whose bounds suffice."""
    if last == "cosine":
        return (ledger.last("output.count") or 0) < MIN_COSINE_CLASSES
    return bool(ledger.last("output.scaled")) and last in ("sigmoid", "tanh") and ledger.last("loss.kind") in SCORED


def expects(loss: str, wanted: Message | str, last: Message | str) -> Message:
    """Sentence on the outputs that a loss expects and those that it gets."""
    return message(
        "finding.model.output_mismatch.expects",
        "{loss} expects {wanted}, but the last operation of the model is {last}",
        loss=loss,
        wanted=wanted,
        last=last,
    )


def _snippet(kind: str, last: str, layer: str) -> str:
    """Key of the code in the wording; "" if the line to change is inside forward()."""
    if last == "none":
        return {"bce": "bce_scores", "nll": "nll_scores"}.get(kind, "")
    if last == "cosine":
        return "cosine"
    return "last_layer" if layer.isdigit() and kind not in ("bce", "nll", "kl") else ""


def _before(last: str, kind: str) -> Message:
    if last == "cosine":
        return message("finding.model.output_mismatch.cosine_before", "cosine similarities before {loss}", loss=kind)
    if last == "none":
        return message("finding.model.output_mismatch.scores_before", "plain scores before {loss}", loss=kind)
    return message("finding.model.output_mismatch.before", "{activation} before {loss}", activation=last, loss=kind)


def _applied_last(ledger: Ledger, activation: str) -> str:
    """Name of the layer that applies the activation to the outputs; "" where forward() calls a function."""
    order = ledger.facts("layer.order")
    layers = [n for n, kind in ledger.facts("layer.activation").items() if kind == activation and n in order]
    end = max(order.values(), default=-1)
    return next((layer for layer in layers if order[layer] == end), "")


def _head(ledger: Ledger) -> str:
    """The linear output layer, where there is only one."""
    last = output_layers(ledger)
    return last[0] if len(last) == 1 else ""


def _called(activation: str, layer: str) -> Message:
    """Last activation, with its place in the code."""
    if activation in ("none", "None"):
        return message("finding.model.output_mismatch.linear", "a linear layer, whose outputs are plain scores")
    if activation == "cosine":
        return message("finding.model.output_mismatch.similarity", "a cosine similarity, which lies between -1 and 1")
    return (
        message(
            "finding.model.output_mismatch.called",
            "{activation} ({layer})",
            activation=activation,
            layer=layer_place(layer),
        )
        if layer
        else message("finding.model.output_mismatch.in_forward", "{activation} in forward()", activation=activation)
    )


def _line_to_change(ledger: Ledger, kind: str, last: str, layer: str) -> Message:
    """Fix for the line of code that causes the mismatch."""
    name = layer_place(layer) if layer else last
    if kind == "bce" and last == "none":
        return message(
            "finding.model.output_mismatch.fix_bce_scores",
            "Use nn.BCEWithLogitsLoss, which applies the sigmoid itself.",
        )
    if kind == "bce":
        return message(
            "finding.model.output_mismatch.fix_bce",
            "Replace {layer} at the end of the model by nn.Sigmoid(), or delete it and use nn.BCEWithLogitsLoss().",
            layer=name,
        )
    if kind == "nll" and last == "none":
        return message(
            "finding.model.output_mismatch.fix_nll_scores",
            "Use nn.CrossEntropyLoss in place of nn.NLLLoss; or return torch.log_softmax(x, dim=1).",
        )
    if kind in ("nll", "kl"):
        return message(
            "finding.model.output_mismatch.fix_nll",
            "Delete {layer} at the end of the model and use nn.CrossEntropyLoss(); or put nn.LogSoftmax(dim=1) in its "
            "place.",
            layer=name,
        )
    if layer:
        return message(
            "finding.model.output_mismatch.fix_layer",
            "Delete {layer}, the nn.{kind} at the end of the model: let it return the scores that go into it.",
            layer=name,
            kind=ledger.last("layer.kind", layer, last),
        )
    return message(
        "finding.model.output_mismatch.fix_function",
        "In forward(), return the scores themselves: return x in place of return torch.{activation}(x).",
        activation=last,
    )


SPEC = FindingSpec(
    code="model.output_mismatch",
    order=180,
    severities=(
        "error",
        "note",
    ),
    rule=output_mismatch,
    words=Words(
        title="The outputs do not fit the loss: {problem}",
        cause="{why}.",
        fix="{do}",
        snippet={
            "shapes": "loss = loss_fn(outputs, y.view_as(outputs))",
            "bce_scores": "loss_fn = nn.BCEWithLogitsLoss()",
            "nll_scores": "loss_fn = nn.CrossEntropyLoss()",
            "last_layer": "model = model[:-1]",
            "cosine": "loss = loss_fn(model(x) / 0.1, y)",
            "ctc": "log_probabilities = model(x).log_softmax(dim=-1)",
            "overlap": "loss = loss_fn(torch.sigmoid(model(x)), y)",
        },
    ),
    charts=(
        loss_and_floor,
        outputs_and_loss,
    ),
    explains=(
        "fit.*",
        "optim.lr_too_low",
        "optim.slow_convergence",
        "optim.plateau_minimum",
        "optim.plateau_saddle",
        "numerics.nonfinite",
        "gradient.vanishing",
        "activation.*",
        "model.bad_init",
        "model.too_small",
        "model.mixes_samples",
        "model.inputs_unused",
        "loop.no_update",
        "loop.metric_wrong",
        "data.labels_shuffled",
        "data.label_noise",
    ),
    needs=(
        "loss.kind",
        "output.activation",
    ),
)

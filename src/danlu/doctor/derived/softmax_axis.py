"""A final softmax over the batch, over a single output, or over another axis than that of the classes."""

from __future__ import annotations

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import OUTPUT

CLASS_LOSSES = ("cross_entropy", "nll")


def wrong_axis(ledger: Ledger) -> Finding | None:
    """Return model.output_mismatch for a final softmax whose axis cannot be right, else None."""
    axis, shape = ledger.last("output.softmax_axis"), ledger.last("output.softmax_shape")
    last, outputs = ledger.last("output.activation"), ledger.last("output.shape")
    if axis is None or not shape or last not in ("softmax", "log_softmax"):
        return None
    facts = {"loss": ledger.last("loss.kind"), "activation": last, "axis": axis, "shape": shape}
    facts["last"] = message(
        "finding.model.output_mismatch.axis",
        "{activation}(dim={axis}) on outputs of shape {shape}",
        activation=last,
        axis=axis,
        shape=shape,
    )
    if shape[axis] == 1:
        facts["problem"] = message("finding.model.output_mismatch.single", "softmax over a single output is always 1")
        facts["why"] = message(
            "finding.model.output_mismatch.always_one",
            "The last operation is {last}. A softmax over one value is 1 whatever the value is, so that the output "
            "never changes and no gradient passes",
            last=facts["last"],
        )
        facts["do"] = message(
            "finding.model.output_mismatch.fix_single",
            "Return the plain score and use nn.BCEWithLogitsLoss(), or give the last layer one output for each class.",
        )
        return Finding("model.output_mismatch", "error", 0.98, OUTPUT, facts)
    right = class_axis(ledger, shape, outputs)
    if right is None or right == axis:
        return None
    facts["problem"] = (
        message(
            "finding.model.output_mismatch.wrong_axis",
            "{activation} over dimension {axis}, which is not that of the classes",
            activation=last,
            axis=axis,
        )
        if axis
        else message("finding.model.output_mismatch.over_batch", "{activation} over the batch (dim=0)", activation=last)
    )
    facts["why"] = message(
        "finding.model.output_mismatch.over_classes",
        "The last operation is {last}, so that the probabilities of a sample do not sum to 1 over its classes",
        last=facts["last"],
    )
    facts["do"] = message(
        "finding.model.output_mismatch.fix_axis",
        "Take {activation} over the classes: dim={right}.",
        activation=last,
        right=right,
    )
    return Finding("model.output_mismatch", "error", 0.97, OUTPUT, facts)


def class_axis(ledger: Ledger, shape: list[int], outputs: list[int] | None) -> int | None:
    """Axis of the classes in the result of the softmax; None if unknown."""
    if len(shape) < 2:
        return None
    if ledger.last("loss.kind") in CLASS_LOSSES and outputs and len(outputs) > 1:
        if outputs == shape:
            return 1
        return len(shape) - 1 if len(outputs) == 2 and outputs[1] == shape[-1] else None
    return 1 if len(shape) == 2 else None

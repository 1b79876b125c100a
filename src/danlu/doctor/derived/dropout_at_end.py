"""Dropout after the output layer, which replaces predictions by 0 at random."""

from __future__ import annotations

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import OUTPUT, layer_place

PROBLEM = message("finding.model.output_mismatch.dropout", "dropout after the output layer")


def dropout_at_end(ledger: Ledger) -> Finding | None:
    """Finding for a dropout that follows the last linear layer, as a layer or a function; None without one."""
    order, rates = ledger.facts("layer.order"), ledger.facts("layer.dropout")
    last = max(order, key=order.__getitem__, default="")
    head = ledger.last("layer.follows", last)
    if not rates.get(last) or not ledger.last("layer.last", head):
        return _in_forward(ledger)
    facts = {"layer": last, "loss": ledger.last("loss.kind"), "activation": "dropout", "rate": rates[last]}
    facts["problem"] = PROBLEM
    facts["why"] = message(
        "finding.model.output_mismatch.dropped",
        "{layer} follows {head}, the output layer: in training it replaces {rate:%} of the outputs by 0 and scales up "
        "the others, so that the loss is mostly that of these random changes",
        layer=layer_place(last),
        head=layer_place(head),
        rate=rates[last],
    )
    facts["do"] = message(
        "finding.model.output_mismatch.fix_dropout",
        "Delete {layer}, or put it before {head}.",
        layer=layer_place(last),
        head=layer_place(head),
    )
    facts["fix"] = "last_layer" if last.isdigit() else ""
    return Finding("model.output_mismatch", "error", 0.95, last, facts)


def _in_forward(ledger: Ledger) -> Finding | None:
    """The same where forward() calls a function."""
    rate = ledger.last("output.dropped")
    if not rate:
        return None
    facts = {"layer": "", "loss": ledger.last("loss.kind"), "activation": "dropout", "rate": rate, "fix": ""}
    facts["problem"] = PROBLEM
    facts["why"] = message(
        "finding.model.output_mismatch.dropped_in_forward",
        "In forward(), dropout is applied to the outputs themselves: in training it replaces {rate:%} of them by 0 and "
        "scales up the others, so that the loss is mostly that of these random changes",
        rate=rate,
    )
    facts["do"] = message(
        "finding.model.output_mismatch.fix_dropout_in_forward",
        "In forward(), apply dropout to the inputs of the last layer, not to what it returns.",
    )
    return Finding("model.output_mismatch", "error", 0.95, OUTPUT, facts)

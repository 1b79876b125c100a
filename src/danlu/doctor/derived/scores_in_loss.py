"""A loss written by hand that takes the scores of the model for probabilities, or those of all labels of the batch."""

from __future__ import annotations

from typing import Any

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import OUTPUT

MAX_LOG_SUM = 0.05  # of probabilities, by rounding in half precision; 0 is exact
NO_PROBABILITY = ("relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "hardswish", "softplus", "prelu", "relu6")


def scores_in_loss(ledger: Ledger) -> Finding | None:
    """Finding for a loss written by hand that does not fit plain scores, or picks those of all labels; else None."""
    facts = _facts(ledger, ledger.last("loss.kind"), ledger.last("output.activation"))
    return Finding("model.output_mismatch", "error", 0.96, OUTPUT, facts) if facts is not None else None


def _facts(ledger: Ledger, kind: str | None, last: str | None) -> dict[str, Any] | None:
    if kind == "ctc" and (ledger.first("loss.log_sum", default=0.0) or 0.0) > MAX_LOG_SUM:
        return _scores_in_ctc(kind, last)
    if ledger.last("loss.picks_all"):
        return _outputs_of_all_labels(kind, ledger.last("loss.picks_all"))
    if kind == "probabilities" and last == "sigmoid":
        return _zeros_left_out(kind)
    logarithm = ledger.last("loss.log_of_complement") or kind in ("probabilities", "normalised")
    if last != "none" and not (last in NO_PROBABILITY and logarithm):
        return None
    if ledger.last("loss.log_of_negative") or (last != "none" and kind in ("probabilities", "normalised")):
        return _logarithm_of_scores(kind) | {"activation": last}
    return _overlap_of_scores(kind) if ledger.last("loss.overlap_of_scores") else None


def _outputs_of_all_labels(kind: str | None, samples: int) -> dict[str, Any]:
    """Evidence of outputs[:, labels] in a loss written by hand."""
    return {
        "loss": kind,
        "activation": "none",
        "problem": message(
            "finding.model.output_mismatch.picks_all", "the loss picks the outputs of all labels for each sample"
        ),
        "why": message(
            "finding.model.output_mismatch.all_labels",
            "The loss indexes the outputs as outputs[:, labels]. This has the shape ({samples}, {samples}): for each "
            "of {samples} samples the outputs of all {samples} labels of the batch, not that of its own label. All "
            "samples then learn the same answer",
            samples=samples,
        ),
        "do": message(
            "finding.model.output_mismatch.fix_index",
            "Pick one output for each sample: index the rows as well, or use nn.CrossEntropyLoss, which does.",
        ),
        "fix": "nll_scores",
    }


def _scores_in_ctc(kind: str, last: str | None) -> dict[str, Any]:
    """Evidence of plain scores in a CTC loss, which expects logarithms of probabilities."""
    return {
        "loss": kind,
        "activation": last,
        "problem": message("finding.model.output_mismatch.ctc", "plain scores before CTCLoss"),
        "why": message(
            "finding.model.output_mismatch.ctc_scores",
            "CTCLoss expects logarithms of probabilities, whose exponentials sum to 1 over the classes; those "
            "of the outputs do not. Raising all scores then lowers the loss, even below 0, without a better reading",
        ),
        "do": message(
            "finding.model.output_mismatch.fix_ctc",
            "Apply log_softmax over the classes before the loss: outputs.log_softmax(dim=-1).",
        ),
        "fix": "ctc",
    }


def _logarithm_of_scores(kind: str | None) -> dict[str, Any]:
    """Evidence of a loss written by hand that takes the logarithm of plain scores."""
    return {
        "loss": kind,
        "activation": "none",
        "problem": message(
            "finding.model.output_mismatch.log_of_scores", "the loss takes the logarithm of plain scores"
        ),
        "why": message(
            "finding.model.output_mismatch.no_probabilities",
            "The loss takes the logarithm of the outputs, which are no probabilities: some are 0 or less. Where they"
            " are clamped the gradient is exactly 0, elsewhere the logarithm is not a number",
        ),
        "do": message(
            "finding.model.output_mismatch.fix_logarithm",
            "Use nn.CrossEntropyLoss or nn.BCEWithLogitsLoss, which take plain scores, or apply softmax or sigmoid "
            "first.",
        ),
        "fix": "",
    }


def _zeros_left_out(kind: str | None) -> dict[str, Any]:
    """Evidence of a cross entropy written by hand that counts only targets of 1, on outputs that are independent."""
    return {
        "loss": kind,
        "activation": "sigmoid",
        "problem": message(
            "finding.model.output_mismatch.ones_only", "the loss is lowest where every sigmoid returns 1"
        ),
        "why": message(
            "finding.model.output_mismatch.no_zeros",
            "The loss is -(y * log(p)): it counts only the outputs whose target is 1. Those of softmax sum to 1, so "
            "that one rises only if the others fall. Outputs of sigmoid can all rise to 1, and nothing keeps them "
            "from it",
        ),
        "do": message(
            "finding.model.output_mismatch.count_zeros",
            "Use nn.BCEWithLogitsLoss on the scores that go into the sigmoid, which counts targets of 0 too; for one "
            "class out of several nn.CrossEntropyLoss.",
        ),
        "fix": "bce_scores",
    }


def _overlap_of_scores(kind: str | None) -> dict[str, Any]:
    """Evidence of a Dice or IoU loss on plain scores."""
    return {
        "loss": kind,
        "activation": "none",
        "problem": message("finding.model.output_mismatch.overlap", "the overlap (Dice, IoU) is taken of plain scores"),
        "why": message(
            "finding.model.output_mismatch.overlap_of_scores",
            "The loss divides sums of the outputs, as Dice and IoU do. These are overlaps only of values between 0 "
            "and 1, but the model returns plain scores, some below 0 or above 1: the loss can fall below 0 without a"
            " better mask",
        ),
        "do": message(
            "finding.model.output_mismatch.fix_overlap",
            "Apply a sigmoid (for several classes: softmax) to the outputs before the loss.",
        ),
        "fix": "overlap",
    }

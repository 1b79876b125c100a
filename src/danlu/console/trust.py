"""Note on the confidence of predictions, where the validation set or the predictions show that it cannot be trusted."""

from __future__ import annotations

from collections.abc import Sequence

from danlu.inference.prediction import Prediction
from danlu.message import Message, message
from danlu.run.summary import Summary

MAX_ECE = 0.1  # expected calibration error on the validation set; confidence that is further off is no probability
MIN_VALIDATION = 100  # samples; of fewer the calibration is not known either
LOW_CONFIDENCE = 0.5
MIN_LOW = 0.3  # fraction of the predictions with a low confidence, from which they are probably of another kind
# Samples like the training data are found unlike it too: 1 % of them, and more where the validation set is small.
MAX_UNLIKE_FRACTION = 0.04
MAX_LISTED = 5  # names of samples unlike the training data
MIN_ACCURACY = 0.7  # on the validation set; below it a network is unsure of images like its training data, too


def trust_notes(predictions: Sequence[Prediction], summary: Summary | None) -> list[Message]:
    """Reasons not to read the confidences as probabilities.

    summary: of the run; None if its folder has none.
    """
    confidences = [row.confidence for row in predictions if row.confidence is not None]
    if not confidences:
        return []
    notes = []
    error = summary.metrics.val.ece if summary else None
    samples = ((summary.data.counts if summary and summary.data else None) or {}).get("val", 0)
    if error is not None and error > MAX_ECE:
        text = (
            "note: confidence is {error:.0%} off the accuracy on the {samples:,} validation samples: compare the "
            "predictions by it, do not read it as a probability"
        )
        notes.append(message("console.calibration", text, error=error, samples=samples))
    elif error is not None and 0 < samples < MIN_VALIDATION:
        text = "note: only {samples} validation samples: how far the confidence can be trusted is not known"
        notes.append(message("console.calibration_unknown", text, samples=samples))
    unlike = [row.path for row in predictions if row.distance is not None and row.distance > 1]
    measured = sum(row.distance is not None for row in predictions)
    if unlike and len(unlike) > MAX_UNLIKE_FRACTION * measured:
        text = (
            "note: {far:,} of {count:,} are unlike the training data, farther from it than nearly all validation "
            "samples are: {listed}. Their confidence means little"
        )
        more = ", ..." if len(unlike) > MAX_LISTED else ""
        listed = ", ".join(unlike[:MAX_LISTED]) + more
        notes.append(message("console.unlike", text, far=len(unlike), count=measured, listed=listed))
    low = sum(confidence < LOW_CONFIDENCE for confidence in confidences)
    accuracy = summary.metrics.val.accuracy if summary else None
    if accuracy is not None and accuracy >= MIN_ACCURACY and low >= MIN_LOW * len(confidences):
        text = (
            "note: confidence below {limit:.0%} for {low:,} of {count:,}, validation accuracy being {accuracy:.0%}: "
            "they may be unlike the training data; look at them, and add such samples to the training set"
        )
        notes.append(
            message(
                "console.low_confidence", text, limit=LOW_CONFIDENCE, low=low, count=len(confidences), accuracy=accuracy
            )
        )
    return notes

"""Score of an epoch, by which the best weights of a training are chosen.

A metric of few validation samples is noisy, and the maximum of a noisy metric over many epochs is mostly luck. There an
epoch counts no more than the mean over the last epochs, so that one lucky epoch is never chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from danlu.task_spec import TaskSpec

SMALL_VALIDATION = 100  # samples; with fewer, one standard error of an accuracy is up to 5 percentage points
WINDOW = 5  # epochs of the mean

Score = tuple[float, float]  # the monitored metric and the negative loss, which decides between equal metrics


def score(spec: TaskSpec, metrics: Mapping[str, float]) -> Score:
    """Score of metrics of the validation set; larger is better. Equal metrics are common, the smaller loss decides."""
    value = metrics[spec.monitor]
    return value if spec.better == "high" else -value, -metrics["loss"]


def compares(samples: int, epoch: int) -> bool:
    """Return whether an epoch, counted from 1, is compared with earlier ones; until then the last counts as the best.

    samples: of the validation set.
    """
    return samples >= SMALL_VALIDATION or epoch >= WINDOW


def smoothed(recent: Sequence[Score]) -> Score:
    """Score of the last of `recent` epochs; metric and loss are the smaller of the last value and the mean of all."""
    metrics, losses = zip(*recent)
    return min(metrics[-1], fmean(metrics)), min(losses[-1], fmean(losses))

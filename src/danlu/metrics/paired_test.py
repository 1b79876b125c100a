"""Comparison of two settings by the metrics of their trainings with the same seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from danlu.message import Message, message


@dataclass(frozen=True)
class Comparison:
    """Result of comparing trainings with and without a change, seed by seed."""

    difference: float | None  # mean of after - before over the seeds where neither failed; None without such seeds
    noise: float | None  # difference that chance alone may make; None below two seeds
    better: bool  # by more than the noise, or with fewer failed trainings
    why: Message
    inconclusive: bool = False  # better, but within the noise: more seeds may decide


def paired_test(
    before: Sequence[float | None], after: Sequence[float | None], *, high: bool, min_gain: float, alpha: float = 0.05
) -> Comparison:
    """Paired one-sided t-test over seeds: the mean difference against Student's t times its standard error.

    before, after: metric by seed, None if the training failed. high: larger is better. min_gain: difference that
    must be exceeded in any case. alpha: significance level. A change with which fewer trainings fail is better
    whatever the metric.
    """
    broke, breaks = sum(v is None for v in before), sum(v is None for v in after)
    pairs = [(a, b) for a, b in zip(before, after) if a is not None and b is not None]
    differences = [b - a for a, b in pairs]
    mean = fmean(differences) if differences else None
    noise = _noise(differences, min_gain, alpha)
    if breaks != broke:
        saved = breaks < broke
        text = "{after} of {total} trainings fail, {before} before the change"
        why = message("verdict.breaks", text, after=breaks, total=len(after), before=broke)
        return Comparison(mean, noise, saved, why)
    if mean is None or noise is None:
        why = message("verdict.no_noise", "the noise is unknown for a single seed")
        if broke:
            why = message("verdict.breaks_as_before", "trainings fail as before")
        return Comparison(mean, noise, False, why)
    gain = mean if high else -mean
    better = gain > noise
    if better:
        why = message("verdict.better", "better by more than the noise of {seeds} seeds", seeds=len(pairs))
    elif gain > 0:
        text = "better, but not by more than the noise of {seeds} seeds"
        why = message("verdict.within_noise", text, seeds=len(pairs))
    elif gain < -noise:
        why = message("verdict.worse", "worse")
    else:
        why = message("verdict.no_better", "no better")
    return Comparison(mean, noise, better, why, inconclusive=0 < gain <= noise)


def _noise(differences: Sequence[float], min_gain: float, alpha: float) -> float | None:
    """Critical mean difference of the paired t-test, at least `min_gain`."""
    if len(differences) < 2:
        return None
    from scipy.stats import t

    limit = float(t.ppf(1 - alpha, len(differences) - 1))
    return max(limit * stdev(differences) / math.sqrt(len(differences)), min_gain)

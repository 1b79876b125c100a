"""Passes of an evaluation over the training set, told apart from those over held-out samples.

Many loops evaluate both, for the accuracy of training beside that of validation: no leak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MIN_CHI_SQUARE = 20.0  # of a difference between two runs of passes; by chance in less than one of 100,000 tables
MIN_COVERED_FRACTION = 0.7  # of the training samples that a run of passes over the training set is expected to hold
MAX_STANDARD_ERRORS = 3.0  # of a count, below which fewer may be chance
MIN_OF_SET = 0.9  # of the training set, above which a run of passes goes over all of it
MIN_COVERAGE = 0.95  # min fraction of the training samples checked, for a single pass to be evidence
WHOLE_EPOCH_FRACTION = 0.98  # of the samples of a training epoch


@dataclass(frozen=True)
class Batch:
    """Samples of one evaluation pass, and those that training is known to have used."""

    samples: int
    trained: int


def held_out(batches: Sequence[Batch], coverage: float, evaluated: int, trained: int) -> range:
    """Return the passes of an evaluation that do not go over the training set.

    Args:
        batches: passes that were checked, in their order, each over all epochs.
        coverage: fraction of the training set that was checked, at most 1.
        evaluated, trained: samples of an epoch's evaluation and training passes, checked or not.
    """
    everything = range(len(batches))
    cut, chi_square = _largest_difference(batches)
    if chi_square >= MIN_CHI_SQUARE:
        before, after = range(cut), range(cut, len(batches))
        low, high = sorted((before, after), key=lambda part: _fraction([batches[i] for i in part]))
        one_run = _changes_within_a_pass(batches, cut, coverage) and _samples(batches, high) < MIN_OF_SET * trained
        return low if not one_run and _is_of_training([batches[i] for i in high], coverage) else everything
    checked = sum(one.samples for one in batches)
    # A gallery of training samples: the rest of the evaluation was not checked.
    gallery = len(batches) == 1 and evaluated / 2 < checked < WHOLE_EPOCH_FRACTION * evaluated
    again = (gallery or evaluated >= WHOLE_EPOCH_FRACTION * trained) and _is_of_training(batches, coverage)
    return range(0) if again else everything


def _changes_within_a_pass(batches: Sequence[Batch], cut: int, coverage: float) -> bool:
    """Return whether a pass at the cut holds samples of both kinds: one data set, part of which was trained on.

    An evaluation of the training set ends with a pass of its own samples.
    """
    at_cut = [batches[cut - 1 : cut], batches[cut : cut + 1]]
    mixed = [0.1 < _fraction(one) < 0.9 for one in at_cut]
    return coverage > MIN_COVERAGE and len(batches) > 2 and sum(mixed) == 1


def _samples(batches: Sequence[Batch], chosen: Sequence[int]) -> int:
    return sum(batches[i].samples for i in chosen)


def _is_of_training(batches: Sequence[Batch], coverage: float) -> bool:
    """Return whether as many samples are known as of passes over the training set, of which a fraction was checked."""
    samples = sum(one.samples for one in batches)
    slack = MAX_STANDARD_ERRORS * math.sqrt(coverage * (1 - coverage) / max(1, samples))
    return _fraction(batches) >= min(MIN_COVERED_FRACTION * coverage, coverage - slack)


def _fraction(batches: Sequence[Batch]) -> float:
    return sum(one.trained for one in batches) / max(1, sum(one.samples for one in batches))


def _largest_difference(batches: Sequence[Batch]) -> tuple[int, float]:
    """Return the pass at which the fraction of training samples changes most, and the chi square of the change."""
    samples, trained = sum(one.samples for one in batches), sum(one.trained for one in batches)
    variance = trained * (samples - trained) / max(1, samples) ** 2
    best, count, known = (0, 0.0), 0, 0
    for cut, one in enumerate(batches[:-1], start=1):
        count, known = count + one.samples, known + one.trained
        apart = known / max(1, count) - (trained - known) / max(1, samples - count)
        chi_square = apart**2 / variance / (1 / max(1, count) + 1 / max(1, samples - count)) if variance else 0.0
        best = max(best, (cut, chi_square), key=lambda pair: pair[1])
    return best

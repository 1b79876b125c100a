"""Agreement of targets per pixel with images and outputs, over the steps at which it was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, stdev

from danlu.doctor.ledger import Ledger

MIN_MEASURED = 8  # steps
LAST_MEASURED = 10  # steps at the end, of which the agreement of the outputs is taken
CERTAIN = 2  # standard errors


@dataclass(frozen=True)
class Agreement:
    """Mean correlation over several steps, and its standard error."""

    mean: float
    error: float

    @property
    def low(self) -> float:
        """Lower end of the confidence interval."""
        return self.mean - CERTAIN * self.error

    @property
    def high(self) -> float:
        """Upper end of the confidence interval."""
        return self.mean + CERTAIN * self.error


def fit_of(ledger: Ledger, arrangement: str) -> Agreement | None:
    """Agreement of the targets with a linear fit by the pixels of the image. None if too few steps were measured."""
    return _mean(ledger.values("dense.fit", arrangement))


def agreement_of(ledger: Ledger, arrangement: str) -> Agreement | None:
    """Agreement of the outputs with the targets at the end. None if too few steps were measured."""
    return _mean(ledger.values("dense.agreement", arrangement)[-LAST_MEASURED:])


def symmetry_of(ledger: Ledger, arrangement: str) -> Agreement | None:
    """Agreement of the targets with the targets so arranged. None if too few steps were measured."""
    return _mean(ledger.values("dense.symmetry", arrangement))


def _mean(values: list[float]) -> Agreement | None:
    known = [value for value in values if math.isfinite(value)]
    if len(known) < MIN_MEASURED:
        return None
    return Agreement(fmean(known), stdev(known) / math.sqrt(len(known)))

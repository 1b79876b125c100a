"""Skill at the end of training, on the scale of progress.py: 0 is chance level, 1 is perfect."""

from __future__ import annotations

import math
from statistics import fmean

from danlu.doctor.derived.progress import chance_loss, skills
from danlu.doctor.ledger import Ledger

MIN_SKILL = 0.02  # less is chance level
LAST_FRACTION = 0.1  # of the steps


def final_skill(ledger: Ledger) -> float | None:
    """Skill of the last tenth of the training steps, or of the last validation if that is lower; None if unknown."""
    chance, losses = chance_loss(ledger), ledger.values("loss.step")
    if not chance or not losses:
        return None
    late = losses[-max(1, round(LAST_FRACTION * len(losses))) :]
    if not all(map(math.isfinite, late)):
        return -math.inf
    held = skills(ledger, "val")
    return min([1 - fmean(late) / chance, *held[-1:]])

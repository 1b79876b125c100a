"""Trainings of several models at once (GAN, actor and critic) when only one of them is watched.

There the losses of the watched model move with the other models, its passes have several purposes (real and generated
samples, passes without a backward pass through it), and a loss at chance level may be the equilibrium. Findings that
compare splits, labels or the loss at chance level do not apply.
"""

from __future__ import annotations

from danlu.doctor.ledger import Ledger


def is_one_of_several(ledger: Ledger) -> bool:
    """Return whether an optimiser steps that holds no parameter of the watched model, beside that of the model."""
    return bool(ledger.last("optimizer.others", default=0))

"""Randomness in eval mode: calls of functional dropout with training=True, and any use of a random generator."""

from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

DROPOUTS = {F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout}


def random_states() -> tuple[Any, ...]:
    """States of the random generators of Python, NumPy and torch, to be compared."""
    states = [random.getstate(), pickle.dumps(np.random.get_state())]  # noqa: NPY002 - used by models
    states.append(torch.get_rng_state().numpy().tobytes())
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states += [state.numpy().tobytes() for state in torch.cuda.get_rng_state_all()]
    return tuple(states)


class DropoutCalls(TorchFunctionMode):
    """Collect the probabilities of the dropout calls that are active while the mode is on."""

    def __init__(self) -> None:
        super().__init__()
        self.active: list[float] = []

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in DROPOUTS:
            p = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
            training = args[2] if len(args) > 2 else kwargs.get("training", True)
            if training and p > 0:
                self.active.append(float(p))
        return func(*args, **kwargs)

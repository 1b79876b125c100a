"""Dropout that stays on in eval mode: calls of functional dropout with training=True."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

DROPOUTS = {F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout}


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

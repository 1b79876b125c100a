"""The closure that torch's optimisers take in step()."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def recomputed(closure: Callable[[], Any] | None) -> Any:
    """Loss that a closure computes, with gradients recorded; None without a closure."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()

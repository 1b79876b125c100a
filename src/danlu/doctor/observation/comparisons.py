"""Comparisons of predictions with labels, `predictions == labels` or `predictions.eq(labels)`, made by a loop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from danlu.doctor.observation.method_listeners import Method, MethodListeners


def _observed(original: Method, listeners: MethodListeners) -> Method:
    def compare(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        equal = original(self, *args, **kwargs)
        known = args and isinstance(args[0], Tensor) and type(equal) is Tensor and not torch.compiler.is_compiling()
        if known and self.numel() == args[0].numel():
            listeners.tell(equal, self, args[0])
        return equal

    return compare


# Listeners are called with (equal, one, other) after each comparison of two tensors of the same number of elements.
COMPARISONS = MethodListeners([(Tensor, "__eq__"), (Tensor, "eq")], _observed)

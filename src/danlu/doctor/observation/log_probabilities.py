"""Log-probabilities of actions that a policy samples, `Distribution.log_prob(actions)`, computed by a loop.

torch has no hook for them: while a listener is known, `log_prob` of the distributions that policies use calls it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, MultivariateNormal, Normal

Listener = Callable[[Tensor], object]
KINDS: tuple[type[Distribution], ...] = (Categorical, Bernoulli, Normal, MultivariateNormal, Independent)
_listeners: list[Listener] = []
_originals: dict[type[Distribution], Callable[..., Tensor]] = {}


def listen(listener: Listener) -> None:
    """Call `listener(log_probabilities)` with each that has a gradient."""
    if not _listeners:
        for kind in KINDS:
            _originals[kind] = kind.log_prob
            kind.log_prob = _observed(kind.log_prob)  # type: ignore[method-assign]
    _listeners.append(listener)


def stop_listening(listener: Listener) -> None:
    """Undo `listen`; the last one puts the methods of torch back."""
    if listener not in _listeners:
        return
    _listeners.remove(listener)
    if not _listeners:
        for kind in KINDS:
            kind.log_prob = _originals.pop(kind)  # type: ignore[method-assign]


def _observed(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def log_prob(self: Distribution, *args: Any, **kwargs: Any) -> Tensor:
        found = original(self, *args, **kwargs)
        if isinstance(found, Tensor) and found.requires_grad and not torch.compiler.is_compiling():
            for listener in tuple(_listeners):
                listener(found)
        return found

    return log_prob

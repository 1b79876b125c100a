"""Log-probabilities of actions that a policy samples, `Distribution.log_prob(actions)`, computed by a loop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, MultivariateNormal, Normal

from danlu.doctor.observation.method_listeners import Method, MethodListeners

KINDS = (Categorical, Bernoulli, Normal, MultivariateNormal, Independent)


def _observed(original: Method, listeners: MethodListeners) -> Method:
    def log_prob(self: Distribution, *args: Any, **kwargs: Any) -> Tensor:
        found = original(self, *args, **kwargs)
        if isinstance(found, Tensor) and found.requires_grad and not torch.compiler.is_compiling():
            listeners.tell(found)
        return found

    return log_prob


# Listeners are called with each log-probability that has a gradient.
LOG_PROBABILITIES = MethodListeners([(kind, "log_prob") for kind in KINDS], _observed)

"""Optimisers that call the model themselves: optimizer.step(closure), as LBFGS must and Lightning always does.

When such a step begins, the gradient it will use does not exist yet. It does when the closure first returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def run_when_gradient_is_ready(args: tuple, kwargs: dict, tell: Callable[[], None]) -> tuple[tuple, dict] | None:
    """Call `tell` once the gradient of the step is there: now, or after the closure's first evaluation.

    args, kwargs: as a step pre-hook gets them, the optimiser first. Gives what the hook must return: those with a
    closure that tells, or None without one.
    """
    closure = args[1] if len(args) > 1 else kwargs.get("closure")
    if not callable(closure):
        tell()
        return None
    waiting = [tell]

    def telling() -> Any:
        loss = closure()
        if waiting:
            waiting.pop()()
        return loss

    return ((args[0], telling, *args[2:]), kwargs) if len(args) > 1 else (args, kwargs | {"closure": telling})

"""Support for optimizer.step(closure), used by LBFGS and by Lightning for every optimizer.

When such a step starts, its gradient does not exist yet; it exists after the first evaluation of the closure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def run_when_gradient_is_ready(args: tuple, kwargs: dict, callback: Callable[[], None]) -> tuple[tuple, dict] | None:
    """Call `callback` when the gradient of the step exists: now, or after the first evaluation of the closure.

    Args:
        args, kwargs: arguments of the step pre-hook, with the optimizer first.
        callback: called once.

    Returns:
        The value the pre-hook must return: the arguments with a wrapped closure, or None without a closure.
    """
    closure = args[1] if len(args) > 1 else kwargs.get("closure")
    if not callable(closure):
        callback()
        return None
    pending = [callback]

    def wrapped_closure() -> Any:
        loss = closure()
        if pending:
            pending.pop()()
        return loss

    return (
        ((args[0], wrapped_closure, *args[2:]), kwargs)
        if len(args) > 1
        else (args, kwargs | {"closure": wrapped_closure})
    )

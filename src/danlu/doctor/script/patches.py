"""Replace attributes of public modules and classes by wrappers, and put the originals back."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any


class Patches:
    """Wrapped attributes, in the order in which they were replaced."""

    def __init__(self) -> None:
        self._replaced: list[tuple[Any, str, Any, Any]] = []

    def wrap(self, owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
        """Replace `owner.name` by a function that calls `wrapper(original, *args, **kwargs)`; skip a missing name."""
        original = vars(owner).get(name)
        if original is None:
            return

        def call(*args: Any, **kwargs: Any) -> Any:
            return wrapper(original, *args, **kwargs)

        # With the globals of the original, in which torch.jit.script looks up the names of its source.
        wrapped = types.FunctionType(
            call.__code__, getattr(original, "__globals__", globals()), call.__name__, None, call.__closure__
        )
        functools.update_wrapper(wrapped, original)
        setattr(owner, name, wrapped)
        self._replaced.append((owner, name, original, wrapped))

    def undo(self) -> None:
        """Put the originals back, except where another program has replaced the wrapper meanwhile."""
        for owner, name, original, wrapped in reversed(self._replaced):
            if vars(owner).get(name) is wrapped:
                setattr(owner, name, original)
        self._replaced.clear()

"""Listeners to methods of torch that have no hook: the methods are replaced while there are listeners."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Listener = Callable[..., object]
Method = Callable[..., Any]


class MethodListeners:
    """Listeners to calls of some methods.

    Args:
        methods: (class, name) of each.
        observed: function of an original method and these listeners that returns the method that takes its place; it
            calls the original one, and `tell`.
    """

    def __init__(
        self, methods: Iterable[tuple[type, str]], observed: Callable[[Method, MethodListeners], Method]
    ) -> None:
        self._methods, self._observed = tuple(methods), observed
        self._listeners: list[Listener] = []
        self._before: dict[tuple[type, str], Method | None] = {}  # None: the method of a base class

    def add(self, listener: Listener) -> None:
        """Call this listener after each call from now on, with the facts that `tell` gets."""
        if not self._listeners:
            for owner, name in self._methods:
                self._before[owner, name] = vars(owner).get(name)
                setattr(owner, name, self._observed(getattr(owner, name), self))
        self._listeners.append(listener)

    def remove(self, listener: Listener) -> None:
        """Undo `add`; the last one puts the methods of torch back."""
        if listener not in self._listeners:
            return
        self._listeners.remove(listener)
        while not self._listeners and self._before:
            (owner, name), before = self._before.popitem()
            if before is None:
                delattr(owner, name)
            else:
                setattr(owner, name, before)

    def tell(self, *facts: Any) -> None:
        """Call the listeners with the facts of a call."""
        for listener in tuple(self._listeners):
            listener(*facts)

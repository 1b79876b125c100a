"""Stages of long work: reported by the code that does it, shown by the caller.

`with stage("reading images", total=500) as reading: ... reading.advance(10)` costs nothing and shows nothing unless a
display is in use. torch is not imported, so that a stage can cover its import.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

Item = TypeVar("Item")

DELAY_SECONDS = 1.5  # a stage that ends earlier is not shown


@dataclass
class Stage:
    """A piece of work.

    text: shown, in the reader's language. total: units of work, if they are counted. delay: seconds before it is
    shown; 0: as it begins.
    """

    text: str
    total: int | None = None
    delay: float = DELAY_SECONDS
    done: int = 0
    began: float = field(default_factory=time.monotonic)

    def advance(self, count: int = 1) -> None:
        """Count units of work as done."""
        self.done += count

    def each(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items, one unit of work each."""
        for item in items:
            yield item
            self.advance()

    def seconds(self) -> float:
        """Seconds since its beginning."""
        return time.monotonic() - self.began

    def seconds_left(self) -> float | None:
        """Expected seconds to its end at the speed so far; None if that is not known."""
        if not self.total or not self.done:
            return None
        return self.seconds() / self.done * max(self.total - self.done, 0)


class StageDisplay(Protocol):
    """Interface of displays of stages. Stages are nested; the innermost is the current one."""

    def begin(self, stage: Stage) -> None:
        """Start a stage inside the current one."""
        ...

    def end(self, stage: Stage) -> None:
        """End a stage."""
        ...


_display: ContextVar[StageDisplay | None] = ContextVar("stage_display", default=None)


@contextmanager
def showing(display: StageDisplay | None) -> Iterator[None]:
    """Show the stages of the block on `display`; None: show none."""
    before = _display.set(display)
    try:
        yield
    finally:
        _display.reset(before)


@contextmanager
def stage(text: str, total: int | None = None, delay: float = DELAY_SECONDS) -> Iterator[Stage]:
    """Mark the block as one stage; arguments as of `Stage`."""
    made, display = Stage(text, total, delay), _display.get()
    if display is None:
        yield made
        return
    display.begin(made)
    try:
        yield made
    finally:
        display.end(made)


def duration(seconds: float) -> str:
    """Format seconds for reading: 8 s, 2 min 05 s, 3 h 07 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"

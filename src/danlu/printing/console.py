"""The console of danlu: prints names from the data as plain text, without interpreting markup."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from danlu.message import printable


class TextConsole(Console):
    """A rich console without markup, emoji codes and highlighting, on which unprintable characters become escapes.

    file: stream to print to, by default standard output. stderr: print to standard error. quiet: print nothing.
    width: in characters, by default that of the terminal.
    """

    def __init__(
        self, *, file: IO[str] | None = None, stderr: bool = False, quiet: bool = False, width: int | None = None
    ) -> None:
        super().__init__(file=file, stderr=stderr, quiet=quiet, width=width, markup=False, emoji=False, highlight=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Segments of an object; those that move the cursor are rich's own and stay as they are."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)

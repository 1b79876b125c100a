"""Help pages of the verbs: the flags that a beginner needs, or all of them; in the reader's language."""

from __future__ import annotations

import argparse
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

from danlu.message import translated

ALL = "all"  # `--help all`: every flag
# Settings listed by `--help`; the others by `--help all`.
FIRST_SETTINGS = (
    "task", "epochs", "batch_size", "seed", "device", "out", "data.target", "data.format", "data.val", "data.test",
    "data.folds", "data.size", "model.name", "transfer.init", "optim.name", "optim.lr", "augment.preset",
    "doctor.language", "live",
)  # fmt: skip


class HelpFormatter(argparse.HelpFormatter):
    """The usual layout, with headings in the reader's language, and Chinese wrapped by the width of its characters."""

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: str | None = None) -> None:
        """Add the usage line."""
        super().add_usage(usage, actions, groups, translated("help.usage", "usage: ") if prefix is None else prefix)

    def _split_lines(self, text: str, width: int) -> list[str]:
        text = " ".join(text.split())
        return textwrap.wrap(text, width) if text.isascii() else _wrapped(text, width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + line for line in self._split_lines(text, width - len(indent)))


class HelpAction(argparse.Action):
    """`--help`, or `--help all`: print the help of a verb and end."""

    def __init__(self, option_strings: Sequence[str], dest: str = argparse.SUPPRESS, **options: Any) -> None:
        super().__init__(
            option_strings, dest=argparse.SUPPRESS, default=argparse.SUPPRESS, nargs="?", metavar=ALL, **options
        )

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Print the page."""
        parser.print_help_page(everything=values == ALL)
        parser.exit()


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` terminal cells; a line may end at a space or beside a wide character."""
    lines, line = [], ""
    for piece in _pieces(text):
        if line and _cells(line + piece.rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        line += piece if line else piece.lstrip()
    return [*lines, line.rstrip()] if line.strip() else lines


def _pieces(text: str) -> list[str]:
    """Words with the space after them, and single wide characters, each with the closing punctuation after it."""
    pieces: list[str] = []
    for character in text:
        wide = _is_wide(character)
        alone = wide and unicodedata.category(character) not in ("Po", "Pe", "Pf")
        after_wide = bool(pieces) and _is_wide(pieces[-1][-1]) and not character.isspace()
        if not pieces or alone or (pieces[-1].endswith(" ") and character != " ") or (after_wide and not wide):
            pieces.append(character)
        else:
            pieces[-1] += character
    return pieces


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"


def _cells(text: str) -> int:
    return sum(2 if _is_wide(character) else 1 for character in text)

"""Names that must stay text wherever danlu writes them."""

from __future__ import annotations

import os

HOSTILE = (
    "[/x]",
    "[red]b[bold]",
    "[link=file:///etc]x[/link]",
    ":smile: \\[x]",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;owned\x07",
    "\x9b31m",
    "a\rb\x08c\x7f",
    "two\nlines",
    "a\u202eb\u2066",
    "\u2028line",
    "<script>document.title='owned'</script>",
    "\"'><img src=x onerror=alert(1)>",
    "=1+cmd|' 'A0",
    "+1",
    "-1",
    "@x",
    "\tx",
    "%s%n{0}",
    "丹炉",
    "e\u0301",
    "x" * 200,
)
NOT_UTF8 = os.fsdecode(b"caf\xe9")  # a folder's name in an old zip file
FOLDERS = (*(name.replace("/", "_") for name in HOSTILE), NOT_UTF8)
COMMANDS = {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def unsafe(text: str, kept: str = "\n") -> set[str]:
    """Characters of an output that a terminal could obey, or that UTF-8 cannot encode; `kept` are allowed."""
    return {one for one in text if (one in COMMANDS and one not in kept) or "\ud800" <= one <= "\udfff"}

"""Silence: notes that a library prints or logs, while other threads still print the progress."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO


@contextmanager
def silent_thread() -> Iterator[None]:
    """Drop what this thread writes to standard output; that of other threads, such as a display, goes where it did."""
    with redirect_stdout(_ElseTo(sys.stdout)):
        yield


@contextmanager
def silent_log() -> Iterator[None]:
    """Drop what libraries log, warnings included."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


class _ElseTo(io.TextIOBase):
    """Drops what the thread that made it writes; passes on the rest."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._silent = stream, threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._silent else self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

"""`--live`: a process of its own that serves a page following the training."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from rich.console import Console

from danlu.listening import listen
from danlu.message import language, message, translated
from danlu.printing.lines import print_line
from danlu.refuse import Refusal
from danlu.run.folder import Run

LIVE_PORT = 8765


@dataclass
class _Waiting:
    """A socket that listens for the page of the run that is about to be made."""

    listening: socket.socket
    console: Console


_waiting: ContextVar[_Waiting | None] = ContextVar("waiting", default=None)


@contextlib.contextmanager
def live_page(port: int | bool | None, console: Console) -> Iterator[None]:
    """Take the port now, before any work; inside the block, `follow` starts the page.

    port: of the page; True for the default one, None and False for no page. Raises Refusal for a port that is taken.
    """
    if port is None or port is False:
        yield
        return
    if os.name == "nt":  # a listening socket cannot be handed to a process there by its number
        raise Refusal(
            message(
                "training.refuse.live_available_windows_start",
                "--live is not available on Windows; start `danlu live RUN` beside the training",
            ),
            "live",
        )
    with listen("127.0.0.1", LIVE_PORT if port is True else port, "--live") as listening:
        kept = _waiting.set(_Waiting(listening, console))
        try:
            yield
        finally:
            _waiting.reset(kept)


def follow(run: Run) -> None:
    """Start the process of the page for this run, if one is wanted and none was started."""
    waiting = _waiting.get()
    if waiting is None:
        return
    _waiting.set(None)
    number = waiting.listening.fileno()
    words = [sys.executable, "-m", "danlu.following.companion", str(run.folder), str(number), language()]
    null = subprocess.DEVNULL
    subprocess.Popen(words, stdin=null, stdout=null, stderr=null, pass_fds=(number,), start_new_session=True)
    url = f"http://127.0.0.1:{waiting.listening.getsockname()[1]}"
    line = translated("training.live", "live page: {url}", url=url)
    print_line(waiting.console, line)

"""What every download of a known set needs: an end to waiting, and the reason of a failure in one line."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

TIMEOUT = 20  # seconds to wait for an answer before the network counts as absent


@contextlib.contextmanager
def patience() -> Iterator[None]:
    """Sockets opened inside wait `TIMEOUT` seconds at most; without a limit they may wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def reason(error: Exception) -> str:
    """Why a download failed, in one line."""
    return " ".join(str(getattr(error, "reason", None) or error).split())

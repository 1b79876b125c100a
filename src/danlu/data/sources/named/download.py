"""Timeout and error message for downloads of known datasets."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

TIMEOUT = 20  # seconds to wait for a response


@contextlib.contextmanager
def socket_timeout() -> Iterator[None]:
    """Limit the waiting time of sockets opened in this context to `TIMEOUT` seconds; there is no limit by default."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def reason(error: Exception) -> str:
    """Describe the failure of a download in one line."""
    return " ".join(str(getattr(error, "reason", None) or error).split())

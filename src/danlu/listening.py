"""Sockets that listen for a page or a service."""

from __future__ import annotations

import errno
import socket

from danlu.message import message
from danlu.refuse import Refusal, refusal, system_reason

OF_THE_HOST = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # errors of an address that another computer has


def check_port(port: int | str, flag: str = "--port") -> None:
    """Raise Refusal for an invalid port. flag: its name for the user."""
    if isinstance(port, bool) or not str(port).isdecimal() or int(port) > 65535:
        raise refusal(flag, message("listening.wanted.port", "an integer from 0 to 65535"), port)


def listen(host: str, port: int | str, flag: str = "--port", backlog: int = 64) -> socket.socket:
    """A listening socket. port: 0 takes a free one. flag: its name for the user. backlog: waiting connections.

    Raises Refusal for an invalid port, a port in use, or an address that this computer does not have.
    """
    check_port(port, flag)
    made = None
    try:
        family = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0][0]
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, int(port)))
        made.listen(backlog)
    except OSError as error:
        if made is not None:
            made.close()
        why = system_reason(error)
        if isinstance(error, socket.gaierror) or error.errno in OF_THE_HOST:
            text = "--host must be an address of this computer, got {host}: {why}"
            raise Refusal(message("listening.refuse.host", text, host=host, why=why), "--host") from None
        text = "{flag} must be a free port, got {port} on {host}: {why}; 0 takes a free one"
        facts = {"flag": flag, "port": port, "host": host, "why": why}
        raise Refusal(message("listening.refuse.port", text, **facts), flag) from None
    return made

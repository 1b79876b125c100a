"""`danlu serve`: a run as a web service on this computer."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
from pathlib import Path
from typing import Any

from rich.console import Console

from danlu.inference.image_predictor import ImagePredictor
from danlu.inference.loaded_run import load
from danlu.message import message
from danlu.refuse import Refusal, refusal
from danlu.run.folder import Run

PACKAGES = {"fastapi": "fastapi", "uvicorn": "uvicorn", "multipart": "python-multipart"}  # module -> its distribution


def serve(
    run: str | Path | Run,
    *,
    port: int | str = 8000,
    host: str = "127.0.0.1",
    weights: str | None = None,
    device: str | None = None,
    model: Any = None,
    console: Console | None = None,
) -> None:
    """Answer HTTP requests with the predictions of a run until SIGINT or SIGTERM, then finish those accepted.

    port: 0 takes a free one. host: address to listen on; others than the default let other computers in. weights:
    "best" or "last". device: the run's by default. model: a network of your own, see `load`.

    POST /predict takes files of a form, or one image as the body, and returns the JSON of `danlu predict`; / is a page
    to drop images on; /metrics has counters, /openapi.json the description.
    """
    for module, distribution in PACKAGES.items():
        if importlib.util.find_spec(module) is None:
            raise Refusal(
                message(
                    "serving.refuse.danlu_serve_needs_package",
                    "danlu serve needs the package {distribution}: `pip install {distribution}`, or danlu[serve]",
                    distribution=distribution,
                )
            )
    if isinstance(port, bool) or not str(port).isdecimal() or int(port) > 65535:
        raise refusal("--port", message("serving.wanted.integer_65535", "an integer from 0 to 65535"), port)
    loaded = load(run, weights, model=model)
    loaded.need_outputs("serve")
    predictor = ImagePredictor(loaded, device)
    listening = _socket(host, int(port))
    import uvicorn

    from danlu.serving.app import make_app

    address = "[{}]" if ":" in host else "{}"
    url = f"http://{address.format(host)}:{listening.getsockname()[1]}"
    text = "{run}: {url} (POST /predict; Ctrl-C ends it)"
    (console or Console()).print(
        str(message("serving.started", text, run=predictor.run.name, url=url)), highlight=False, soft_wrap=True
    )
    config = uvicorn.Config(make_app(predictor), log_level="warning", access_log=False, server_header=False)
    with listening, contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again after a clean end
        uvicorn.Server(config).run(sockets=[listening])


def _socket(host: str, port: int) -> socket.socket:
    """Listen. Raises Refusal for an address that is in use or not of this computer."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(2048)
    except OSError as error:
        flag, got = ("--port", port) if not isinstance(error, socket.gaierror) else ("--host", host)
        why = (error.strerror or str(error)).lower()
        raise Refusal(
            message(
                "serving.refuse.free_computer_got",
                "{flag} must be free and of this computer, got {got} on {host}: {why}",
                flag=flag,
                got=got,
                host=host,
                why=why,
            ),
            flag,
        ) from None
    return made

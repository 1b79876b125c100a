"""`danlu serve`: a run as a web service on this computer."""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path
from typing import Any

from rich.console import Console

from danlu.inference.image_predictor import ImagePredictor
from danlu.inference.load import load
from danlu.listening import listen
from danlu.message import message
from danlu.python_calls import python_names
from danlu.refuse import Refusal
from danlu.run.folder import Run

PACKAGES = {"fastapi": "fastapi", "uvicorn": "uvicorn", "multipart": "python-multipart"}  # module -> its distribution
WAITING_CONNECTIONS = 2048  # accepted by the kernel while the service is busy


@python_names()
def serve(
    run: str | Path | Run,
    *,
    port: int | str = 8000,
    host: str = "127.0.0.1",
    weights: str | None = None,
    device: str | None = None,
    model: Any = None,
    transform: Any = None,
    console: Console | None = None,
) -> None:
    """Answer HTTP requests with the predictions of a run until SIGINT or SIGTERM; accepted requests are still answered.

    POST /predict takes files of a form, or one image as the body, and returns the JSON of `danlu predict`; / is a page
    to drop images on; /metrics returns counters, /openapi.json the description of the interface.

    Args:
        run: A run or its folder.
        port: 0 for any free port.
        host: Address to listen on; by default only this computer can connect.
        weights: "best" or "last".
        device: The run's by default.
        model, transform: Objects of your own, as for `load`.
        console: Where the address is printed; standard output by default.

    Raises:
        Refusal: Not a run, a missing package, or a port that is taken.
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
    loaded = load(run, weights, model=model, transform=transform)
    loaded.need_outputs("serve")
    predictor = ImagePredictor(loaded, device)
    listening = listen(host, port, backlog=WAITING_CONNECTIONS)
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

"""`danlu live`: serve the page of a run or of a folder of runs until it is interrupted."""

from __future__ import annotations

import contextlib
from pathlib import Path

from rich.console import Console

from danlu.following.server import LiveServer, spare_the_training
from danlu.following.target import checked_target
from danlu.listening import listen
from danlu.message import message
from danlu.printing.console import TextConsole
from danlu.printing.lines import print_line
from danlu.python_calls import python_names
from danlu.refuse import one_of
from danlu.run.folder import Run
from danlu.training.live_page import LIVE_PORT


@python_names()
def live(
    run: str | Path | Run = "runs",
    *,
    port: int | str = LIVE_PORT,
    host: str = "127.0.0.1",
    lang: str | None = None,
    console: Console | None = None,
) -> None:
    """Serve a page that follows a run while it trains, or all runs of a folder, until SIGINT or SIGTERM.

    The page is made from the run folder alone, by a process of low priority with one thread that also predicts a few
    validation images with the saved weights; the training process does no work for it. To open it on another computer,
    forward the port: `ssh -L 8765:127.0.0.1:8765 HOST`.

    Args:
        run: The folder of a running or finished training; or a folder of runs, including those that start later.
        port: 0 for any free port.
        host: Address to listen on; by default only this computer can connect.
        lang: Language of the pages, en or zh; by default that of each run, and English for several.
        console: Where the address is printed; standard output by default.

    Raises:
        Refusal: A folder that does not exist or holds other files, or a port that is taken.
    """
    target = checked_target(run)
    if lang is not None:
        one_of("--lang", lang, ("en", "zh"), message("following.wanted.en_zh", "en or zh"))
    listening = listen(host, port)
    spare_the_training()
    server = LiveServer(listening, target, lang, any_host=host not in ("127.0.0.1", "localhost", "::1"))
    name = f"[{host}]" if ":" in host else host
    text = "{run}: http://{host}:{port} (Ctrl-C ends it)"
    line = str(message("live.started", text, run=str(target), host=name, port=listening.getsockname()[1]))
    print_line(console or TextConsole(), line)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    server.end()

"""HTTP server of the live pages: read only, for browsers on this machine unless a host is given."""

from __future__ import annotations

import gzip
import json
import os
import socket
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit

import torch

from danlu.doctor.presentation.cards import style
from danlu.following.run_page import RunPage
from danlu.following.runs_page import RunsPage, has_folds, runs_in
from danlu.message import speaking, translated
from danlu.report.document import asset, plotly_script
from danlu.report.markup import escape
from danlu.run.folder import Run

HEARTBEAT_SECONDS = 5.0  # between signs of life on a silent stream
RETRY_MILLISECONDS = 2000  # until a browser connects again
NICENESS = 10  # the training goes first
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
HERE = Path(__file__).parent


class LiveServer(ThreadingHTTPServer):
    """Serves the page of a run, or of a folder of runs.

    listening: bound and listening. target: a run folder or a folder of runs. language: of the pages; None: that of
    each run, and English for several. any_host: answer
    requests under any host name, for servers that others may reach.
    """

    daemon_threads = True

    def __init__(self, listening: socket.socket, target: Path, language: str | None, any_host: bool = False) -> None:
        super().__init__(listening.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.target, self.language, self.any_host = target, language, any_host
        self._pages: dict[str, RunPage | RunsPage] = {}
        self._lock = Lock()

    @property
    def is_run(self) -> bool:
        """Return whether the target is one run, so that there is no page of several."""
        return (self.target / "config.yaml").exists() and not has_folds(self.target)

    def page(self, name: str) -> RunPage | RunsPage | None:
        """The page of a run of the folder by its name; "" is the page of the target itself."""
        with self._lock:
            if name == "":
                kind = "run" if self.is_run else "runs"
                if kind not in self._pages:  # a cross-validation has no folds at first
                    made = (
                        RunPage(Run(self.target), self.language)
                        if self.is_run
                        else RunsPage(self.target, self.language or "en")
                    )
                    self._pages[kind] = made
                return self._pages[kind]
            if self.is_run or name not in (known := runs_in(self.target)):
                return None
            key = f"run:{name}"
            if key not in self._pages:
                self._pages[key] = RunPage(known[name], self.language)
            return self._pages[key]

    def end(self) -> None:
        """Let all browsers go and close."""
        for page in self._pages.values():
            page.board.end()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections closed by the browser."""


def spare_the_training() -> None:
    """Limit this process to one thread and the lowest CPU priority."""
    torch.set_num_threads(1)
    if hasattr(os, "nice"):
        os.nice(NICENESS)


class Handler(BaseHTTPRequestHandler):
    """Answers GET only."""

    server: LiveServer  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a request, after a check of the host that it names."""
        host = (self.headers.get("Host") or "").lower()
        name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        if not self.server.any_host and name not in LOCAL_NAMES:  # a site's name that resolves to this machine
            self.send_error(403)
            return
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        page = self.server.page(query.get("run", ""))
        with speaking(self.server.language or "en"):
            self._answer(page, parts.path, query)

    def _answer(self, page: RunPage | RunsPage | None, path: str, query: dict[str, str]) -> None:
        if page is None:
            self._missing(translated("live.no_such_run", "there is no run of this name here"))
        elif path == "/":
            text = document(page.language, query.get("run", ""), single=self.server.is_run)
            self._send(text.encode(), "text/html; charset=utf-8")
        elif path == "/events":
            self._stream(page)
        elif path == "/images" and isinstance(page, RunPage) and query.get("epoch", "").isdecimal():
            with speaking(page.language):
                self._send(page.samples.html(int(query["epoch"])).encode(), "text/html; charset=utf-8")
        elif path in ("/page.css", "/live.js", "/charts.js", "/plotly.js"):
            kind = "text/css" if path.endswith("css") else "text/javascript"
            self._send(static(path), f"{kind}; charset=utf-8", zipped=True)
        else:
            self._missing(translated("live.no_such_page", "there is no such page here"))

    def _missing(self, sentence: str) -> None:
        self._send(sentence.encode(), "text/plain; charset=utf-8", 404)

    def _send(self, content: bytes, kind: str, status: int = 200, *, zipped: bool = False) -> None:
        """Send a whole answer. zipped: content is compressed by gzip."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "max-age=3600" if zipped else "no-store")
        if zipped:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, page: RunPage | RunsPage) -> None:
        """Server-sent events: all parts at first, then those that change."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        version = 0
        self.wfile.write(f"retry: {RETRY_MILLISECONDS}\n\n".encode())
        while not page.board.ended:
            version, parts = page.board.since(version, HEARTBEAT_SECONDS)
            self.wfile.write(f"data: {parts}\n\n".encode())
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not printed."""


@lru_cache
def static(path: str) -> bytes:
    """A script or style sheet, compressed by gzip."""
    text = {
        "/plotly.js": plotly_script,
        "/charts.js": lambda: asset("charts.js"),
        "/live.js": lambda: (HERE / "live.js").read_text(encoding="utf-8"),
        "/page.css": lambda: asset("page.css") + style() + (HERE / "live.css").read_text(encoding="utf-8"),
    }[path]()
    return gzip.compress(text.encode(), 6)


def document(language: str, name: str, *, single: bool) -> str:
    """The HTML page, empty but for its headings: all else arrives as events.

    name: of the run in the folder, "" for the target itself. single: whether the target is one run.
    """
    with speaking(language):
        words = {
            "lost": translated("live.lost", "The server of this page has ended; this is the last that it sent."),
            "epoch": translated("live.epoch", "Epoch"),
            "latest": translated("live.latest", "latest"),
            "none": translated("live.no_findings", "None so far."),
        }
        headings = {
            "curves": translated("live.curves", "Curves"),
            "findings": translated("live.findings", "Findings"),
            "images": translated("live.images", "Validation images"),
            "layers": translated("live.layers", "Layers"),
            "all": translated("live.all", "All runs"),
        }
    back = "" if single or not name else f'<a href="?">{escape(headings["all"])}</a>'
    template = Template((HERE / "page.html").read_text(encoding="utf-8"))
    filled = {key: escape(text) for key, text in headings.items()}
    return template.substitute(filled, language=language, words=escape(json.dumps(words)), back=back, name=escape(name))

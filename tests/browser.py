"""A headless Chromium driven by its own protocol over two pipes: pages of a server, as a user sees them."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


class Browser:
    """One tab. Use as a context manager.

    folder: for its profile. width, height: of the window in pixels; below 600 a phone is emulated. messages: errors and
    warnings of the console, and requests that failed.
    """

    def __init__(self, folder: Path, width: int = 1280, height: int = 900) -> None:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if chromium is None:
            pytest.skip("chromium is not installed: the page was not looked at in a browser")
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()

        def connect() -> None:
            os.dup2(to_read, 3)
            os.dup2(to_write, 4)

        words = [chromium, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--remote-debugging-pipe", "about:blank"]
        os.set_inheritable(to_read, True)
        os.set_inheritable(to_write, True)
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(words, preexec_fn=connect, close_fds=False, **silent)  # noqa: PLW1509
        os.close(to_read)
        os.close(to_write)
        self._numbers, self._buffer, self._session = itertools.count(1), b"", None
        self.messages: list[str] = []
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")
        self.resize(width, height)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._session = None
        with contextlib.suppress(OSError, EOFError):
            self.call("Browser.close")
        self._process.wait(20)
        os.close(self._read)
        os.close(self._write)

    def call(self, method: str, **values: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        number = next(self._numbers)
        session = {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps({"id": number, "method": method, "params": values} | session).encode() + b"\0")
        until = time.monotonic() + 60
        while time.monotonic() < until:
            got = self._next(until)
            if got.get("id") == number:
                assert "error" not in got, f"{method}: {got['error']}"
                return got["result"]
        raise TimeoutError(method)

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError("the browser does not answer")
            piece = os.read(self._read, 1 << 20)
            if not piece:
                raise EOFError("the browser has ended")
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        got = json.loads(message)
        values = got.get("params", {})
        if got.get("method") == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.messages.append(values["entry"]["text"] + " " + values["entry"].get("url", ""))
        elif got.get("method") == "Runtime.exceptionThrown":
            self.messages.append(json.dumps(values["exceptionDetails"])[:500])
        elif got.get("method") == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning"):
            self.messages.append(json.dumps(values["args"])[:500])
        return got

    def resize(self, width: int, height: int = 900) -> None:
        """Set the size of the window in pixels; below a width of 600 a phone is emulated."""
        phone = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)

    def open(self, url: str) -> None:
        """Go to a page."""
        self.call("Page.navigate", url=url)

    def show(self, page: Path, seconds: float = 30) -> None:
        """Open a file and wait until it is complete; `messages` are those of this page."""
        self.messages.clear()
        self.open(page.as_uri())
        self.wait(f"location.href === {json.dumps(page.as_uri())} && document.readyState === 'complete'", seconds)

    def run(self, code: str) -> Any:
        """Value of a JavaScript expression in the page; a promise is awaited."""
        got = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in got, got["exceptionDetails"]
        return got["result"].get("value")

    def wait(self, code: str, seconds: float = 30) -> Any:
        """Wait until a JavaScript expression is true; return its value."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if value := self.run(code):
                return value
            time.sleep(0.1)
        raise AssertionError(f"never true within {seconds} s: {code}; {self.run('document.body?.innerText')[:2000]}")

    def choose_files(self, selector: str, *files: Path) -> None:
        """Choose files in an input of the page."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def beyond(self) -> list[str]:
        """Elements that reach over the right edge of the window, those in boxes that scroll left out."""
        return self.run(
            """[...document.querySelectorAll("body *")].filter((e) => !e.closest(".scroll, svg, nav, .chart")
            && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 120))"""
        )

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Write a PNG of the page, or of the window only."""
        got = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(got["data"]))

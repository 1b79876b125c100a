"""Parts of a page, recomputed in their own threads and sent to browsers when they change."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

Parts = Mapping[str, Any]  # name of a part -> its content as plain values, None to remove it
POLL_SECONDS = 0.5
IDLE_RATIO = 4  # idle time of a worker as a multiple of its working time, which leaves the CPU to the training


class Board:
    """The current parts of one page.

    workers: called again and again, each in its own thread; they return the parts that may have changed. A worker that
    fails puts its reason into the part "trouble" until it works again.
    """

    def __init__(self, *workers: Callable[[], Parts]) -> None:
        self._parts: dict[str, tuple[int, str]] = {}  # name -> version of its last change, JSON
        self._version = 0
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._troubles: dict[int, str] = {}
        self.rounds = [0] * len(workers)  # calls of each worker that have ended
        for number, worker in enumerate(workers):
            threading.Thread(target=self._repeat, args=(number, worker), daemon=True).start()

    def put(self, parts: Parts) -> None:
        """Replace parts and wake the browsers if any has changed."""
        with self._changed:
            written = {name: json.dumps(value, separators=(",", ":")) for name, value in parts.items()}
            new = {name: text for name, text in written.items() if self._parts.get(name, (0, "null"))[1] != text}
            if new:
                self._version += 1
                self._parts |= {name: (self._version, text) for name, text in new.items()}
                self._changed.notify_all()

    def since(self, version: int, timeout: float) -> tuple[int, str]:
        """Wait for parts newer than `version`; return the version now, and these parts as JSON ("{}" if none came)."""
        with self._changed:
            self._changed.wait_for(lambda: self._version > version or self._ended.is_set(), timeout)
            new = {name: text for name, (at, text) in self._parts.items() if at > version}
            return self._version, "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in new.items()) + "}"

    @property
    def ended(self) -> bool:
        """Return whether `end` was called."""
        return self._ended.is_set()

    def end(self) -> None:
        """Stop the threads and release waiting browsers."""
        self._ended.set()
        with self._changed:
            self._changed.notify_all()

    def _repeat(self, number: int, worker: Callable[[], Parts]) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            try:
                parts = dict(worker())
                self._troubles.pop(number, None)
            except Exception as error:  # a file that is being written or was removed, a network of the user's own
                self._troubles[number] = " ".join(str(error).split())[:300] or type(error).__name__
                parts = {}
            troubles = " ".join(self._troubles.copy().values())
            self.put(parts | {"trouble": troubles or None})
            self.rounds[number] += 1
            self._ended.wait(max(POLL_SECONDS, IDLE_RATIO * (time.monotonic() - began)))

"""Stages on a console: one line that is redrawn on a terminal, plain lines elsewhere.

A thread looks at the current stage, because the work itself may be one long call. Only rich is imported besides danlu.
"""

from __future__ import annotations

import contextvars
import threading

from rich.console import Console
from rich.text import Text

from danlu.message import printable_line, translated
from danlu.progress.stages import Stage, duration

LOOK_SECONDS = 0.25  # between looks at the current stage
LINE_SECONDS = 10.0  # between plain lines about one stage
ERASE = "\r\x1b[2K"


class StageLines:
    """Show the innermost stage that has lasted longer than its delay. Used by `stages.showing`."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._stages: list[Stage] = []
        self._printed: dict[int, float] = {}  # id of a stage -> its seconds at the last plain line
        self._drawn = False  # whether the terminal's line shows a stage
        self._line = ""  # the last plain line: two stages of one name in a row are one to the reader
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def begin(self, stage: Stage) -> None:
        """Start a stage inside the current one."""
        with self._lock:
            self._stages.append(stage)
            first = len(self._stages) == 1
            if not stage.delay and not self.console.quiet:  # by this thread: the work may leave no other any time
                self._show(stage)
        if first and not self.console.quiet:
            self._ended = threading.Event()
            here = contextvars.copy_context()  # with the language, which a thread of its own would not have
            threading.Thread(target=here.run, args=(self._watch, self._ended), daemon=True).start()

    def end(self, stage: Stage) -> None:
        """End a stage, and erase its line after the last."""
        with self._lock:
            self._stages.remove(stage)
            self._printed.pop(id(stage), None)
            if not self._stages:
                self._ended.set()
            if self._drawn:
                self._write(ERASE)
                self._drawn = False

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(LOOK_SECONDS):
            with self._lock:
                if not ended.is_set() and self._stages:
                    self._show(self._stages[-1])

    def _show(self, stage: Stage) -> None:
        seconds = stage.seconds()
        if seconds < stage.delay:
            return
        if self.console.is_terminal:
            self._write(f"{ERASE}{printable_line(described(stage))[: self.console.width - 1]}")
            self._drawn = True
            return
        last = self._printed.get(id(stage))
        if last is None or seconds - last >= LINE_SECONDS:
            self._printed[id(stage)] = seconds
            if (line := described(stage)) != self._line:
                self._line = line
                self.console.print(Text(line), soft_wrap=True)

    def _write(self, text: str) -> None:
        self.console.file.write(text)
        self.console.file.flush()


def described(stage: Stage) -> str:
    """The line of a stage: its text, how much is done, and the time left or spent."""
    words = [printable_line(stage.text)]
    if stage.total:
        text = "{done:,} of {total:,}"
        words.append(translated("progress.done", text, done=min(stage.done, stage.total), total=stage.total))
    elif stage.done:
        words.append(f"{stage.done:,}")
    left = stage.seconds_left()
    if left is not None:
        words.append(translated("progress.left", "{time} left", time=duration(left)))
    elif stage.seconds() >= LINE_SECONDS:
        words.append(translated("progress.spent", "{time} so far", time=duration(stage.seconds())))
    return "  ".join(words)

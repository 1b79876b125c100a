"""Print the findings of a `with danlu.watch(...)` block as they arise, and a summary at its end."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from time import perf_counter

from danlu.doctor.finding import SEVERITIES, Finding, in_lines
from danlu.doctor.phrase import message
from danlu.message import Message, printable_line, speaking

MIN_INTERVAL = 2.0  # seconds between two looks at the findings
COST_FACTOR = 50  # an interval is at least this many times the time that the last look took
STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


class Announcer:
    """Prints each new error and warning once.

    findings: returns the findings so far. language: code, of the lines. quiet: print nothing.
    """

    def __init__(self, findings: Callable[[], Sequence[Finding]], language: str, quiet: bool) -> None:
        self.findings, self.language, self.quiet = findings, language, quiet
        self.printed: dict[str, str] = {}  # code -> severity
        self._next = perf_counter() + MIN_INTERVAL

    def step(self) -> None:
        """Called after every observed step: print new findings when the next look is due."""
        if self.quiet or (began := perf_counter()) < self._next:
            return
        self.look()
        ended = perf_counter()
        self._next = ended + max(MIN_INTERVAL, COST_FACTOR * (ended - began))

    def look(self) -> Sequence[Finding]:
        """Print the findings that are new; of a consequence only its cause. Return all findings."""
        if self.quiet:
            return []
        found = self.findings()
        consequences = {code for one in found for code in one.consequences}
        for one in found:
            if one.severity != "note" and one.code not in self.printed and one.code not in consequences:
                self.printed[one.code] = one.severity
                say(in_lines(one, self.language), STYLES[one.severity])
        return found

    def finish(self, steps: int) -> None:
        """Print new findings at the end of the block, findings that no longer hold, and the summary."""
        if self.quiet:
            return
        found = self.look()
        now = {one.code for one in found}
        with speaking(self.language):
            for code in [code for code in self.printed if code not in now]:
                say(str(withdrawn(code)), "dim")
            say(summary_line(found, steps), "bold" if found else "green")


def withdrawn(code: str) -> Message:
    """Line for a finding that was printed and no longer holds."""
    text = "withdrawn: {code}; the rest of the training does not show it"
    return message("doctor.watch.withdrawn", text, code=code)


def summary_line(found: Sequence[Finding], steps: int) -> str:
    """`doctor: 1,200 steps watched; errors: 1, notes: 2`, in the current language."""
    counts = Counter(one.severity for one in found)
    texts = {
        "error": message("doctor.watch.errors", "errors: {count}", count=counts["error"]),
        "warning": message("doctor.watch.warnings", "warnings: {count}", count=counts["warning"]),
        "note": message("doctor.watch.notes", "notes: {count}", count=counts["note"]),
    }
    listed = [texts[severity] for severity in SEVERITIES if counts[severity]]
    if not listed:
        return str(
            message(
                "doctor.watch.none", "doctor: {steps} {steps:step|steps} watched, nothing found", steps=f"{steps:,}"
            )
        )
    text = "doctor: {steps} {steps:step|steps} watched; {counts}"
    return str(message("doctor.watch.summary", text, steps=f"{steps:,}", counts=listed))


def say(text: str, style: str = "") -> None:
    """Print a sentence and the code to paste below it, in colour on a terminal where rich is installed."""
    line = "\n".join(map(printable_line, text.split("\n")))
    if sys.stdout.isatty():
        try:
            from rich.console import Console
            from rich.text import Text
        except ImportError:
            pass
        else:
            Console().print(Text(line, style), soft_wrap=True)
            return
    print(line, flush=True)

"""Words around the findings, on the terminal and on the doctor's page."""

from __future__ import annotations

from typing import Any

from danlu.doctor.phrase import message
from danlu.message import Message

_SEVERITIES = {
    "error": message("doctor.term.error", "error"),
    "warning": message("doctor.term.warning", "warning"),
    "note": message("doctor.term.note", "note"),
}


def severity_term(severity: str) -> Message | str:
    """Name of a severity; an unknown one as it is."""
    return _SEVERITIES.get(severity, severity)


def term(name: str, text: str, /, **values: Any) -> Message:
    """The message `doctor.term.NAME`."""
    return message(f"doctor.term.{name}", text, **values)

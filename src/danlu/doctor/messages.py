"""What each finding says: title, cause and remedy, in English and Chinese.

The words stand in wording/, one file a family, one entry per code: {"en": (title, cause, remedy), "zh": ...}. They are
format strings over the finding's evidence, and `{where}`; a name that the evidence lacks becomes "?", braces of code
are doubled. The cause is written for a student, the remedy can be pasted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from danlu.doctor.finding import Finding
from danlu.doctor.wording import activation, data, detection, fit, gradient, loop, model, norm, numerics, optim, speed

# Code -> language -> (title, cause, remedy).
MESSAGES: dict[str, dict[str, tuple[str, str, str]]] = {
    **data.WORDS,
    **model.WORDS,
    **norm.WORDS,
    **loop.WORDS,
    **optim.WORDS,
    **gradient.WORDS,
    **activation.WORDS,
    **numerics.WORDS,
    **fit.WORDS,
    **speed.WORDS,
    **detection.WORDS,
}


class _Evidence(dict):
    """Evidence for format strings: numbers short, what is missing as a question mark."""

    def __missing__(self, key: str) -> str:
        return "?"


def shown(value: Any) -> Any:
    """A number as a reader wants it: four digits, no trailing zeros."""
    if isinstance(value, bool) or not isinstance(value, float):
        return ", ".join(str(shown(item)) for item in value) if isinstance(value, list | tuple) else value
    if math.isfinite(value) and value == int(value) and abs(value) < 1e6:
        return int(value)
    return float(f"{value:.3g}")


def worded(finding: Finding, language: str = "en") -> Finding:
    """The finding with title, cause and remedy in words; English where the language has no entry."""
    table: Mapping[str, tuple[str, str, str]] = MESSAGES.get(finding.code, {})
    message = table.get(language) or table.get("en")
    if message is None:
        return replace(finding, title=finding.title or finding.code)
    facts = _Evidence({key: shown(value) for key, value in finding.evidence.items()}, where=finding.where)
    title, cause, remedy = (text.format_map(facts) for text in message)
    return replace(finding, title=finding.title or title, cause=finding.cause or cause, remedy=finding.remedy or remedy)

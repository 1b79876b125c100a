"""Messages about measured numbers: "{loss}" is shown with three digits, "{fraction:%}" as a percentage."""

from __future__ import annotations

import math
from typing import Any

from danlu.message import Message, language, table
from danlu.message import message as plain


def message(id: str, text: str, /, **values: Any) -> Message:
    """Make a `Message` whose numbers are short: message("doctor.rose", "{factor} times its start", factor=12.345)."""
    return plain(id, text, **{name: readable(value) for name, value in values.items()})


class _ShortFloat(float):
    """A float that is shown with three digits."""

    def __format__(self, spec: str) -> str:
        return _formatted(float(self), spec)

    def __str__(self) -> str:
        return _formatted(float(self), "")


class _ShortInt(int):
    """An int that is shown in full, or as a percentage by "%"."""

    def __format__(self, spec: str) -> str:
        return _formatted(int(self), spec)


class _Text(str):
    """A text in place of a number: a format for numbers leaves it as it is."""

    def __format__(self, spec: str) -> str:
        return str(self)


def readable(value: Any) -> Any:
    """A value of a message: numbers, also in lists, with a short format; messages as they are."""
    if isinstance(value, bool | Message):
        return value
    if value is None or isinstance(value, str):
        return _Text(value)
    if isinstance(value, int):
        return _ShortInt(value)
    if isinstance(value, float):
        return _ShortFloat(value)
    return [readable(one) for one in value] if isinstance(value, list | tuple) else value


def shown(value: Any) -> Any:
    """A number with three digits and no trailing zeros, a list as text."""
    if isinstance(value, bool) or not isinstance(value, float):
        return ", ".join(str(shown(item)) for item in value) if isinstance(value, list | tuple) else value
    if not math.isfinite(value):
        return value
    short = value if value == int(value) and abs(value) < 1e6 else float(f"{value:.3g}")
    return int(short) if short == int(short) and abs(short) < 1e6 else short


def recorded(text: str) -> Message:
    """A sentence that an instrument wrote into the ledger, translated as a whole or up to a colon."""
    head, colon, rest = text.partition(": ")
    if colon and language() != "en" and _recorded_id(text) not in table(language()):
        return message("doctor.recorded.with_detail", "{head}: {detail}", head=recorded(head), detail=rest)
    return message(_recorded_id(text), "{text}", text=text)


def _recorded_id(text: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()
    return "doctor.recorded." + "_".join(words[:8])


def _formatted(value: float, spec: str) -> str:
    if spec == "%":
        return f"{_formatted(100.0 * value, '')} %"
    if spec:
        return format(value, spec)
    short = shown(value)
    return f"{short:g}" if isinstance(short, float) else str(short)

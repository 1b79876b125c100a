"""Words made of a sentence and its values, kept apart so that they can be said in another language."""

from __future__ import annotations

import math
from typing import Any


class Phrase(str):
    """An English text that remembers its sentence and values: Phrase("{} of the units", 3).

    It is a plain text for whoever does not ask; `messages.said` gives it in another language. In the sentence "{:%}" is
    a share as per cent.
    """

    sentence: str
    values: tuple[Any, ...]

    def __new__(cls, sentence: str, *values: Any) -> Phrase:
        made = super().__new__(cls, sentence.format(*map(Shown, values)))
        made.sentence, made.values = sentence, values
        return made

    def __getnewargs__(self) -> tuple[Any, ...]:  # copies are made of what it was made of
        return (self.sentence, *self.values)


def named(layer: str) -> str:
    """A layer's name, to stand within a sentence: one that is but a number is called a layer."""
    return Phrase("layer {}", layer) if layer.isdigit() else layer


class Shown:
    """A value within a sentence: "{}" shows a number as a reader wants it, "{:%}" a share as per cent."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __format__(self, spec: str) -> str:
        number = isinstance(self.value, int | float)
        if spec == "%" and number:
            return f"{Shown(100.0 * self.value)} %"
        if number and spec:
            return format(self.value, spec)
        short = shown(self.value)
        return f"{short:g}" if isinstance(short, float) else str(short)


def shown(value: Any) -> Any:
    """A number as a reader wants it: three digits, no trailing zeros."""
    if isinstance(value, bool) or not isinstance(value, float):
        return ", ".join(str(shown(item)) for item in value) if isinstance(value, list | tuple) else value
    if not math.isfinite(value):
        return value
    short = value if value == int(value) and abs(value) < 1e6 else float(f"{value:.3g}")
    return int(short) if short == int(short) and abs(short) < 1e6 else short

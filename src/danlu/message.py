"""Messages: sentences with an id that are shown in the reader's language.

The English text stands where it is used; other languages are tables from id to a format string, one folder per
language in `translations/`. A missing translation falls back to English.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Any

TRANSLATIONS = Path(__file__).parent / "translations"
LIST_SEPARATOR = {"en": ", ", "zh": "、"}

_language: ContextVar[str] = ContextVar("language", default="en")


def language() -> str:
    """Current language code: "en" or the name of a folder in `translations/`."""
    return _language.get()


@contextmanager
def speaking(code: str) -> Iterator[None]:
    """Set the language of all messages rendered inside the block."""
    before = _language.set(code)
    try:
        yield
    finally:
        _language.reset(before)


@dataclass(frozen=True)
class Message:
    """A sentence to show or to keep.

    id: dotted name, unique per text ("choice.batch_size"). text: English format string with named fields.
    values: one per field; numbers, text, messages, or lists of these (joined by the language's comma).
    `str(message)` renders it in the current language.
    """

    id: str
    text: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.render(language())

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def render(self, code: str) -> str:
        """The sentence in language `code`, in English where the table has no such id or does not fit the values."""
        with speaking(code):
            values = {name: _shown(value) for name, value in self.values.items()}
            translated = table(code).get(self.id) if code != "en" else None
            if translated is not None and fields(translated) <= values.keys():
                return translated.format_map(values)
            return self.text.format_map(values)

    def to_dict(self) -> dict[str, Any]:
        """JSON form; `Message.from_dict` reads it back without the code that made it."""
        return {"id": self.id, "text": self.text, "values": {k: _kept(v) for k, v in self.values.items()}}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Message:
        return cls(kept["id"], kept["text"], {k: _read(v) for k, v in kept.get("values", {}).items()})


def message(id: str, text: str, /, **values: Any) -> Message:
    """Make a `Message`: message("choice.batch_size", "{samples:,} training samples", samples=1_200)."""
    return Message(id, text, values)


@lru_cache
def table(code: str) -> dict[str, str]:
    """All translations of a language by message id, empty where the language has no folder."""
    found: dict[str, str] = {}
    for file in sorted((TRANSLATIONS / code).glob("*.toml")):
        found |= dict(_flat(tomllib.loads(file.read_text(encoding="utf-8"))))
    return found


def fields(text: str) -> set[str]:
    """Names of the fields in a format string."""
    return {name.partition(".")[0].partition("[")[0] for _, name, _, _ in Formatter().parse(text) if name is not None}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _shown(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return LIST_SEPARATOR.get(language(), ", ").join(str(_shown(one)) for one in value)
    return value


def _kept(value: Any) -> Any:
    if isinstance(value, Message):
        return {"message": value.to_dict()}
    if isinstance(value, list | tuple):
        return [_kept(one) for one in value]
    return value


def _read(value: Any) -> Any:
    if isinstance(value, Mapping) and "message" in value:
        return Message.from_dict(value["message"])
    if isinstance(value, list):
        return [_read(one) for one in value]
    return value

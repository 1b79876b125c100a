"""Messages: sentences with an id that are shown in the reader's language, and text from data made printable.

The English text is at the place of its use; other languages are tables from id to a format string, one folder per
language in `translations/`. A missing translation falls back to English.
"""

from __future__ import annotations

import html
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Any

TRANSLATIONS = Path(__file__).parent / "translations"
LANGUAGES = ("en", "zh")
LANGUAGE_VARIABLE = "DANLU_LANG"
LOCALE_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set decides, as POSIX has it
LIST_SEPARATOR = {"en": ", ", "zh": "、"}
# Control characters but tab and newline, marks that reorder the text around them, and halves of surrogate pairs, by
# which Python stands for the bytes of a file name that is not UTF-8.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
MAX_WORD = 240  # characters; longer words, also paths, are shown without their middle
LONG_WORD = re.compile(rf"\S{{{MAX_WORD + 1},}}")
NOT_UNICODE = re.compile("[\ud800-\udfff]")

_language: ContextVar[str | None] = ContextVar("language", default=None)


def language() -> str:
    """Current language code: that of the innermost `speaking` block, else `environment_language`, else "en"."""
    return _language.get() or environment_language() or "en"


def environment_language(environment: Mapping[str, str] = os.environ) -> str | None:
    """Language that DANLU_LANG or the locale asks for; None where neither names one of `LANGUAGES`."""
    if wanted := environment.get(LANGUAGE_VARIABLE):
        return wanted if wanted in LANGUAGES else None
    locale = next((value for name in LOCALE_VARIABLES if (value := environment.get(name))), "")
    return next((code for code in LANGUAGES if code != "en" and locale.partition("_")[0].lower() == code), None)


@contextmanager
def speaking(code: str) -> Iterator[None]:
    """Set the language of all messages rendered inside the block."""
    before = _language.set(code)
    try:
        yield
    finally:
        _language.reset(before)


class _Formatter(Formatter):
    """str.format with "{count:image|images}": the first word for the number 1, else the second."""

    def format_field(self, value: Any, format_spec: str) -> str:
        """Text of one field."""
        one, bar, several = format_spec.partition("|")
        return super().format_field(value, format_spec) if not bar else one if str(value) == "1" else several


_FORMATTER = _Formatter()


class Message(str):
    """A sentence to show or to keep: a string (its English text) with the id and values that it is translated from.

    id: dotted name, unique per text ("choice.batch_size"). text: English format string with named fields.
    values: one per field; numbers, text, messages, or lists of these (joined by the language's comma). Without values
    the text is taken as it is, braces included. "{count} {count:image|images}" chooses the word by the number.

    `str(message)` and f"{message}" give it in the current language; comparing, searching and joining work on the
    English text, and so does json.
    """

    id: str
    text: str
    values: Mapping[str, Any]

    def __new__(cls, id: str, text: str, values: Mapping[str, Any] | None = None) -> Message:
        """Fill the fields of `text` with `values`."""
        values = dict(values or {})
        made = super().__new__(cls, _filled(text, values, "en"))
        made.id, made.text, made.values = id, text, values
        return made

    def __reduce__(self) -> tuple[type[Message], tuple[str, str, Mapping[str, Any]]]:
        return type(self), (self.id, self.text, self.values)

    def __str__(self) -> str:
        return self.render(language())

    def __format__(self, spec: str) -> str:
        return format(self.render(language()), spec)

    def render(self, code: str) -> str:
        """The sentence in language `code`; English where the table has no such id or does not fit the values."""
        translated = table(code).get(self.id) if code != "en" else None
        if translated is None or (self.values and not fields(translated) <= self.values.keys()):
            translated = self.text
        return _filled(translated, self.values, code)

    def to_dict(self) -> dict[str, Any]:
        """JSON form; `Message.from_dict` reads it back without the code that made it."""
        return {"id": self.id, "text": self.text, "values": {k: _kept(v) for k, v in self.values.items()}}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Message:
        """Read the result of `to_dict`. Raises KeyError, TypeError or ValueError when it does not fit together."""
        return cls(kept["id"], kept["text"], {k: _read(v) for k, v in kept.get("values", {}).items()})


def message(id: str, text: str, /, **values: Any) -> Message:
    """Make a `Message`: message("choice.batch_size", "{samples:,} training samples", samples=1_200)."""
    return Message(id, text, values)


def translated(id: str, text: str, /, **values: Any) -> str:
    """Render a message at once, in the current language; for what is shown and not kept."""
    return Message(id, text, values).render(language())


def printable(text: object) -> str:
    r"""Text of several lines for a terminal, a log or a page: what is not printable becomes an escape.

    Names of classes, files and columns come from the data, and could hold commands for the terminal.

    >>> print(printable("red \x1b[31m"), printable("caf\udce9"))
    red \x1b[31m caf\xe9
    """
    return UNPRINTABLE.sub(_escape, str(text))


def printable_line(text: object) -> str:
    """`printable` text in one line: line ends and tabs become escapes as well."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def as_html(value: object, *, quote: bool = True) -> str:
    """Escape a value for HTML text, and for attributes with `quote`; what is not printable becomes a visible escape."""
    return html.escape(printable(value), quote=quote)


def shortened_words(text: str) -> str:
    """Text in which words too long to be read, such as names of thousands of characters, lose their middle."""
    return LONG_WORD.sub(lambda match: f"{match[0][: MAX_WORD // 2]}...{match[0][-MAX_WORD // 4 :]}", text)


def unicode_text(text: str) -> str:
    """Text that UTF-8 can encode: bytes of a name that is not UTF-8 become escapes."""
    return NOT_UNICODE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    code = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code  # the byte that Python could not decode
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def clauses(parts: Sequence[Message]) -> Message:
    """One message of several, separated by semicolons. `parts` is not empty."""
    *first, last = parts
    for part in reversed(first):
        last = message("list.clauses", "{first}; {rest}", first=part, rest=last)
    return last


def messages_in(tree: Any, place: str = "") -> dict[str, dict[str, Any]]:
    """All messages inside dicts and lists by their place ("choices/0/reason"), in JSON form."""
    if isinstance(tree, Message):
        return {place: tree.to_dict()}
    found: dict[str, dict[str, Any]] = {}
    prefix = f"{place}/" if place else ""
    for key, value in _items(tree):
        found |= messages_in(value, f"{prefix}{key}")
    return found


def with_messages(tree: Any, messages: Mapping[str, Any], place: str = "") -> Any:
    """`tree` with the strings at the places of `messages` (as `messages_in` gave them) turned back into messages."""
    if isinstance(tree, str):
        kept = messages.get(place)
        try:
            return Message.from_dict(kept) if kept else tree
        except (KeyError, TypeError, ValueError, AttributeError):
            return tree  # edited by hand; the English sentence is still there
    prefix = f"{place}/" if place else ""
    under = {key: with_messages(value, messages, f"{prefix}{key}") for key, value in _items(tree)}
    return under if isinstance(tree, Mapping) else list(under.values()) if isinstance(tree, list | tuple) else tree


@lru_cache
def table(code: str) -> dict[str, str]:
    """All translations of a language by message id, empty if the language has no folder."""
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


def _filled(text: str, values: Mapping[str, Any], code: str) -> str:
    if not values:
        return text
    with speaking(code):
        return _FORMATTER.vformat(text, (), {name: _shown(value) for name, value in values.items()})


def _items(tree: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(tree, Mapping):
        yield from tree.items()
    elif isinstance(tree, list | tuple):
        yield from enumerate(tree)


def _shown(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return LIST_SEPARATOR.get(language(), ", ").join(str(_shown(one)) for one in value)
    return value


def _kept(value: Any) -> Any:
    if isinstance(value, Message):
        return {"message": value.to_dict()}
    if isinstance(value, list | tuple):
        return [_kept(one) for one in value]
    if value is None or isinstance(value, str | int | float):
        return value
    return value.item() if hasattr(value, "item") else str(value)  # a number of numpy, or a path


def _read(value: Any) -> Any:
    if isinstance(value, Mapping) and "message" in value:
        return Message.from_dict(value["message"])
    if isinstance(value, list):
        return [_read(one) for one in value]
    return value

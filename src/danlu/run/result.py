"""Base of the results that danlu returns: attributes in Python, plain values in JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, ClassVar, Self

from danlu.message import as_html

OF_FILES = ("KEYS", "ALWAYS", "from_json")  # for the JSON form, not for users


class Result(Mapping[str, Any]):
    """A dataclass that also reads as a mapping: `result.metrics` and `result["metrics"]` are the same object.

    The keys are those of the JSON form. A field that may be absent has the default None, and is then neither a key
    nor written to JSON, unless `ALWAYS` names it. Subclasses are frozen dataclasses with `eq=False` (two results are
    equal when their mappings are) and `repr=False` (`str` and `repr` give one line).
    """

    KEYS: ClassVar[Mapping[str, str]] = {}  # attribute -> JSON key where they differ, as label -> "class"
    ALWAYS: ClassVar[tuple[str, ...]] = ()  # attributes that are keys even when they are None

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`, in the order of the fields."""
        return {key: _plain(value) for key, value in self.items()}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Read the JSON form. Unknown keys are ignored; missing ones take the field's default."""
        known = {one.name: cls.KEYS.get(one.name, one.name) for one in _fields(cls)}
        return cls(**{name: kept[key] for name, key in known.items() if key in kept})

    def _attributes(self) -> dict[str, str]:
        """JSON key -> attribute, of the fields that are present."""
        return {
            self.KEYS.get(one.name, one.name): one.name
            for one in _fields(type(self))
            if getattr(self, one.name) is not None or one.default is MISSING or one.name in self.ALWAYS
        }

    def __getitem__(self, key: str) -> Any:
        return getattr(self, self._attributes()[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._attributes())

    def __len__(self) -> int:
        return len(self._attributes())

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return self.to_json() | dict(other)

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_") and name not in OF_FILES]

    def _repr_html_(self) -> str:
        return html_table(self)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_short(getattr(self, name))}" for name in self._attributes().values())
        return f"{type(self).__name__}({shown})"

    __str__ = __repr__


def html_table(values: Mapping[str, Any]) -> str:
    """Names and values as an HTML table, for notebooks."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{as_html(name)}</th>"
        f"<td style='text-align:left'>{as_html(_short(value))}</td></tr>"
        for name, value in values.items()
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _fields(cls: type) -> tuple[Field[Any], ...]:
    return fields(cls)


def _plain(value: Any) -> Any:
    if isinstance(value, Result):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def _short(value: Any) -> str:
    """At most 40 characters on one line."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple | dict) and len(value) > 4:
        return f"<{len(value)} {'keys' if isinstance(value, dict) else 'items'}>"
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"{text[:37]}..."

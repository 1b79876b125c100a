"""Words of the site itself: headings and labels around texts of danlu, in the current language."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from pathlib import Path

from danlu.message import language

FOLDER = Path(__file__).parent


def word(id: str, english: str, /, **values: object) -> str:
    """Text in the current language; English where zh.toml has no such id."""
    return (_table(language()).get(id) or english).format(**values)


@lru_cache
def _table(code: str) -> dict[str, str]:
    file = FOLDER / f"{code}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}

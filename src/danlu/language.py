"""The language in which danlu speaks: English stands in the code where it is used, Chinese in one table a room.

`say = sayer(ZH)` gives a room its words. Which language it is, is settled at the doors alone (a page, a verb) by
`with speaking("zh"):`, so that what lies between need not hand it on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from danlu.message import language, speaking

__all__ = ["reteller", "sayer", "speaking", "spoken"]

LONGEST = 2000  # letters of a sentence that is looked at for its form


def spoken() -> str:
    """Current language code."""
    return language()


def sayer(zh: Mapping[str, str]) -> Callable[..., str]:
    """say(English words, values for their braces) by a table of English to Chinese."""

    def say(words: str, *values: object) -> str:
        found = zh.get(words, words) if spoken() == "zh" else words
        return found.format(*values) if values else found

    return say


def reteller(zh: Mapping[str, str]) -> Callable[[str], str]:
    """retell(a finished English sentence): by the sentence of the table that has its form, `{}` standing for any text.

    For sentences that come from a file or another room. What fills their braces is retold as well, by the same table.
    """
    forms = [(_form(words), words) for words in sorted(zh, key=lambda words: -len(words.replace("{}", "")))]

    def retell(sentence: str) -> str:
        if spoken() != "zh" or len(sentence) > LONGEST:
            return sentence
        for form, words in forms:
            if found := form.fullmatch(sentence):
                return zh[words].format(*map(retell, found.groups()))
        return sentence

    return retell


def _form(words: str) -> re.Pattern[str]:
    return re.compile("(.*?)".join(map(re.escape, words.split("{}"))), re.DOTALL)

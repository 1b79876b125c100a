"""Language of a command: `--lang` before or after the verb, else DANLU_LANG, else the locale of the terminal."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from danlu.message import message
from danlu.refuse import one_of

LANGUAGES = ("en", "zh")
FLAG = "--lang"
VARIABLE = "DANLU_LANG"
LOCALES = ("LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set decides, as POSIX has it


def split_language(argv: Sequence[str]) -> tuple[list[str], str | None]:
    """Take `--lang CODE` out of the words of a command line; the last one counts.

    The words after the script of `danlu watch` are the script's own and stay. Raises Refusal for an unknown language.

    >>> split_language(["--lang", "zh", "train", "digits"])
    (['train', 'digits'], 'zh')
    """
    words, rest = _leading(argv)
    if rest[:1] == ["watch"]:
        from danlu.console.watch import split_program

        own, program = split_program(rest[1:])
        more, own = _taken(own)
        words, rest = [*words, *more], ["watch", *own, *program]
    else:
        more, rest = _taken(rest)
        words += more
    for word in words:
        _checked(FLAG, word)
    return rest, words[-1] if words else None


def language_of(environment: Mapping[str, str] = os.environ) -> str | None:
    """Language that DANLU_LANG or the locale asks for; None where neither does. Raises Refusal for an unknown one."""
    if wanted := environment.get(VARIABLE):
        return _checked(VARIABLE, wanted)
    locale = next((value for name in LOCALES if (value := environment.get(name))), "")
    return next((code for code in LANGUAGES if code != "en" and locale.partition("_")[0].lower() == code), None)


def _leading(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Languages given before the verb, and the other words."""
    found, rest = [], list(argv)
    while rest and rest[0].partition("=")[0] == FLAG:
        one, rest = _taken(rest[:1] if "=" in rest[0] else rest[:2])[0], rest[1 if "=" in rest[0] else 2 :]
        found += one
    return found, rest


def _taken(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Values of all `--lang` in these words, and the other words."""
    found: list[str] = []
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag != FLAG:
            rest.append(word)
            continue
        found.append(value if equals else next(words, ""))
    return found, rest


def _checked(thing: str, code: str) -> str:
    return one_of(thing, code, LANGUAGES, message("config.wanted.one_of", "one of {listed}", listed=LANGUAGES))

"""Language of a command: `--lang` before or after the verb, else DANLU_LANG, else the locale of the terminal."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from danlu.message import LANGUAGE_VARIABLE, LANGUAGES, environment_language, message
from danlu.refuse import one_of

FLAG = "--lang"


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
    if wanted := environment.get(LANGUAGE_VARIABLE):
        _checked(LANGUAGE_VARIABLE, wanted)
    return environment_language(environment)


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

"""Errors shown to the user: `Refusal` for wrong input (exit code 2), `Failure` for work that failed (exit code 1).

Both carry one sentence with the thing, the place, and the nearest valid choice.
"""

from __future__ import annotations

import difflib
import errno
import os
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from danlu.message import Message, message

MAX_CHOICES = 12  # listed in a sentence
NOTHING = message("refuse.nothing", "nothing")  # in place of a missing value


class Refusal(ValueError):
    """Wrong input by the user, in one sentence that names the thing, the place and what to do.

    sentence: a string, or a `Message`, which is shown in the current language. thing: first word of the sentence where
    it is a setting or an argument; the command line replaces it by the flag.
    """

    def __init__(self, sentence: str, thing: str = "") -> None:
        super().__init__(sentence)
        self.sentence, self.thing = sentence, thing

    def __str__(self) -> str:
        return str(self.sentence)

    def __reduce__(self) -> tuple[type[Refusal], tuple[str, str]]:
        return type(self), (self.sentence, self.thing)  # raised again from worker processes


class Failure(RuntimeError):
    """Work that failed although the input was right: a full disk, a loss that is not finite, a missing device.

    Its sentence is a string, or a `Message`, which is shown in the current language.
    """

    def __str__(self) -> str:
        return str(self.args[0]) if len(self.args) == 1 else super().__str__()


def shape_of(array: Any) -> Message:
    """Phrase for the shape of an array or a tensor that is not the wanted one."""
    return message("refuse.shape", "shape {shape}", shape=str(tuple(array.shape)))


def nearest(word: object, choices: Iterable[str]) -> list[str]:
    """Find the choices closest to a misspelt `word`, best first, at most three.

    >>> nearest("resnt20", ["resnet20", "lenet", "mlp"])
    ['resnet20']
    """
    word, lower = str(word).lower(), {choice: choice.lower() for choice in sorted(choices)}
    # A prefix of a choice, or a word that contains one, is closer than a word that only shares letters.
    starts = [c for c, low in lower.items() if word and (low.startswith(word) or (len(low) > 2 and low in word))]
    similarity = {c: difflib.SequenceMatcher(None, word, low).ratio() for c, low in lower.items()}
    best = max(similarity.values(), default=0.0)
    close = [c for c, ratio in similarity.items() if ratio >= max(0.5, best - 0.1)]
    close.sort(key=lambda choice: -similarity[choice])
    return list(dict.fromkeys(starts + close))[:3]


def nearest_files(name: str) -> list[str]:
    """Find the entries closest to a misspelt path, in the deepest of its folders that exists."""
    path = Path(name).expanduser()
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    try:
        entries = [one for one in os.listdir(parent) if path.name.startswith(".") or not one.startswith(".")]
    except OSError:
        return []
    return [entry if str(parent) == "." else str(parent / entry) for entry in nearest(path.name, entries)]


def refusal(thing: str, wanted: str, got: object, *, near: Iterable[str] = (), do: str = "") -> Refusal:
    """Make a `Refusal` of the form "THING must be WANTED, got GOT; did you mean 'NEAR'? DO".

    thing: flag, config key, file or argument, with its place. wanted: description of valid input.
    near: valid choices, of which those closest to `got` are offered. do: next step for the user.

    >>> print(refusal("--model", "a known model", "resnt20", near=["resnet20", "lenet"]))
    --model must be a known model, got 'resnt20'; did you mean 'resnet20'?
    """
    choices = list(near)
    close = nearest(got, choices)
    text = "{thing} must be {wanted}, got {got}"
    shown = got if isinstance(got, Message) else repr(got)
    sentence = message("refuse.must_be", text, thing=thing, wanted=wanted, got=shown)
    if close:
        sentence = message("refuse.hint", "{sentence}; {hint}", sentence=sentence, hint=did_you_mean(close))
    elif not all(choice in wanted for choice in choices):
        listed = sorted(choices)
        text = "{sentence}; choose from {listed}"
        if len(listed) > MAX_CHOICES:
            text = "{sentence}; choose from {listed} and {more} more"
            values = {"listed": listed[:MAX_CHOICES], "more": len(listed) - MAX_CHOICES}
            sentence = message("refuse.choose_more", text, sentence=sentence, **values)
        else:
            sentence = message("refuse.choose", text, sentence=sentence, listed=listed)
    if do and sentence.endswith("?"):
        sentence = message("refuse.do_after_hint", "{sentence} {do}", sentence=sentence, do=do)
    elif do:
        sentence = message("refuse.do", "{sentence}; {do}", sentence=sentence, do=do)
    return Refusal(sentence, thing)


def did_you_mean(close: Sequence[str]) -> Message:
    """The nearest valid choices as a question. `close` is not empty."""
    return message("refuse.did_you_mean", "did you mean {choices}?", choices=either([*map(repr, close)]))


def either(choices: Sequence[str]) -> str:
    """Choices joined by "or". `choices` is not empty."""
    *first, last = choices
    for one in reversed(first):
        last = message("refuse.or", "{one} or {other}", one=one, other=last)
    return last


def system_reason(error: Exception) -> Message:
    """Why a file, an address or other input could not be used, in the reader's language where it is a usual reason."""
    text = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, socket.gaierror):
        return message("refuse.os.unknown_host", "{text}", text=text.lower())
    name = errno.errorcode.get(error.errno or 0, "other") if isinstance(error, OSError) else "other"
    return message(f"refuse.os.{name}", "{text}", text=text.lower() if name != "other" else text)


def blame(error: OSError, thing: str = "") -> Refusal | Failure:
    """Turn a file error into a Failure (full or broken disk) or a Refusal (unusable path).

    thing: flag or file with its place; the file of the error by default.
    """
    name = thing or str(error.filename or "a file")
    name = name if len(name) <= 200 else f"{name[:200]}..."
    reason = system_reason(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENFILE, errno.EMFILE, errno.ENOMEM):
        text = "{name} could not be read or written: {reason}"
        return Failure(message("refuse.not_read_or_written", text, name=name, reason=reason))
    return Refusal(message("refuse.cannot_be_used", "{name} cannot be used: {reason}", name=name, reason=reason))


def one_of(thing: str, name: str, table: Iterable[str], what: str) -> str:
    """Return `name` if `table` contains it. Raises a Refusal that offers the closest entries otherwise.

    what: description of valid input ("a known optimiser").
    """
    names = list(table)
    if name in names:
        return name
    raise refusal(thing, what, name, near=names)


def whole_number(thing: str, value: object, min_value: int, max_value: int | None = None) -> int:
    """Return an integer given as a number or as text. Raises Refusal for anything else, or one out of the range.

    >>> whole_number("--images", "20", 1)
    20
    """
    try:
        number = int(str(value))
    except ValueError:
        number = min_value - 1
    if number < min_value or (max_value is not None and number > max_value):
        wanted = message("refuse.integer_least", "an integer of at least {least}", least=min_value)
        raise refusal(thing, wanted, value)
    return number


choose = one_of  # the former name, for scripts outside


def shortened(error: Exception, limit: int = 200) -> str:
    """Kind and text of an error of the user's code in one line. limit: max characters of the text.

    >>> shortened(ValueError("wrong shape\\n(3, 4)"))
    'ValueError: wrong shape (3, 4)'
    """
    return f"{type(error).__name__}: {' '.join(str(error).split())[:limit]}"

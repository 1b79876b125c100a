"""The two ways a command ends badly, and the one sentence each of them says.

A `Refusal` means that the user's input is wrong (exit code 2); a `Failure` means that the input was fine and the work
could not be done (exit code 1). Both carry one sentence: the thing, the place, and the nearest valid choice.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class Refusal(ValueError):
    """The user's input is wrong. The message is one sentence that names the thing, the place and what to do.

    thing: what the sentence begins with, where it is a setting or an argument; the command line says the flag for it.
    """

    def __init__(self, sentence: str, thing: str = "") -> None:
        super().__init__(sentence)
        self.thing = thing

    def __reduce__(self) -> tuple[type[Refusal], tuple[str, str]]:
        return type(self), (str(self), self.thing)  # it comes back from worker processes


class Failure(RuntimeError):
    """The work failed though the input was right: a full disk, a loss that is not finite, a missing device."""


def nearest(word: object, choices: Iterable[str]) -> list[str]:
    """The choices a misspelt `word` may have meant, best first; at most three.

    >>> nearest("resnt20", ["resnet20", "lenet", "mlp"])
    ['resnet20']
    """
    word, lower = str(word).lower(), {choice: choice.lower() for choice in sorted(choices)}
    # A word that begins a choice, or contains one, is nearer than one that merely shares letters.
    starts = [c for c, low in lower.items() if word and (low.startswith(word) or (len(low) > 2 and low in word))]
    likeness = {c: difflib.SequenceMatcher(None, word, low).ratio() for c, low in lower.items()}
    best = max(likeness.values(), default=0.0)
    close = [c for c, share in likeness.items() if share >= max(0.5, best - 0.1)]
    close.sort(key=lambda choice: -likeness[choice])
    return list(dict.fromkeys(starts + close))[:3]


def refusal(thing: str, wanted: str, got: object, *, near: Iterable[str] = (), do: str = "") -> Refusal:
    """A `Refusal` in the house's one form: "THING must be WANTED, got GOT; did you mean 'NEAR'? DO".

    thing: the flag, config key, file or argument, with its place. wanted: what would have been right.
    near: valid choices among which the nearest to `got` are offered. do: what the user can do next.

    >>> print(refusal("--model", "a known model", "resnt20", near=["resnet20", "lenet"]))
    --model must be a known model, got 'resnt20'; did you mean 'resnet20'?
    """
    choices = list(near)
    close = nearest(got, choices)
    sentence = f"{thing} must be {wanted}, got {got!r}"
    if close:
        sentence += f"; did you mean {' or '.join(repr(c) for c in close)}?"
    elif not all(choice in wanted for choice in choices):
        listed = sorted(choices)
        more = f" and {len(listed) - 12} more" if len(listed) > 12 else ""
        sentence += f"; choose from {', '.join(listed[:12])}{more}"
    if do:
        sentence += f" {do}" if sentence.endswith("?") else f"; {do}"
    return Refusal(sentence, thing)


def blame(error: OSError, thing: str = "") -> Refusal | Failure:
    """A file error as a sentence: a disk that is full or fails is a Failure, a path that will not do a Refusal.

    thing: the flag or file with its place; by default the file that the error names.
    """
    name = thing or str(error.filename or "a file")
    name = name if len(name) <= 200 else f"{name[:200]}..."
    reason = (error.strerror or str(error)).lower()
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENFILE, errno.EMFILE, errno.ENOMEM):
        return Failure(f"{name} could not be read or written: {reason}")
    return Refusal(f"{name} cannot be used: {reason}")


def choose(thing: str, name: str, table: Iterable[str], what: str) -> str:
    """`name` when `table` holds it, else the refusal that offers the nearest entries. what: "a known optimiser" ..."""
    names = list(table)
    if name in names:
        return name
    raise refusal(thing, what, name, near=names)

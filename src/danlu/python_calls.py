"""Errors of calls in Python name settings as Python spells them: `model=` where the command line has `--model`."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from danlu.refuse import Failure, Refusal
from danlu.task_spec import TASKS

# A command of danlu, which stays as it is typed, or a flag and the word after it.
COMMAND_OR_FLAG = re.compile(r"`[^`]*`|danlu [a-z]+ [^;,()]*|(?<![\w-])--([a-z][\w.-]*\w)(?:[ =]([\w./:@+-]*\w))?")
VALUE = re.compile(r".*[\d./:_-].*|[A-Z]+")  # numbers, names of files and networks, placeholders such as NAME
NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")
SWITCHES = {"true": "True", "false": "False"}
# Values of settings that occur in sentences and look like any other word.
WORDS = {*TASKS, "none", "auto", "light", "strong", "last", "best", "keep", "random", "folder", "group", "batch"}

_typed: ContextVar[float | None] = ContextVar("typed_on_a_command_line", default=None)  # since when


@contextmanager
def on_command_line() -> Iterator[None]:
    """Keep flags in the errors of the block as they are: the user types them."""
    token = _typed.set(time.perf_counter())
    try:
        yield
    finally:
        _typed.reset(token)


@contextmanager
def python_names() -> Iterator[None]:
    """Spell flags in the errors of a public function as in Python; of no effect on the command line."""
    try:
        yield
    except Refusal as error:
        if not typed_on_command_line():
            error.sentence = in_python(str(error))
            error.args = (error.sentence,)
        raise
    except Failure as error:
        if not typed_on_command_line():
            error.args = (in_python(str(error)),)
        raise


def typed_on_command_line() -> bool:
    """Return whether the user typed a command, and so takes flags."""
    return _typed.get() is not None


def command_began() -> float | None:
    """Time of `time.perf_counter` at which the command began; None in a call of Python."""
    return _typed.get()


def in_python(text: str) -> str:
    """Text with flags spelled as arguments.

    >>> in_python("--model must be a known network; try --optim.weight-decay 0.1, or leave --model out")
    "model must be a known network; try optim={'weight_decay': 0.1}, or leave model out"
    """
    return COMMAND_OR_FLAG.sub(_spelled, text)


def _spelled(found: re.Match[str]) -> str:
    flag, word = found[1], found[2]
    if flag is None:
        return found[0]
    name = flag.replace("-", "_")
    if word is None:
        return name
    if not (VALUE.fullmatch(word) or word in WORDS or word in SWITCHES):
        return f"{name} {word}"
    value = SWITCHES.get(word, word if NUMBER.fullmatch(word) else repr(word))
    section, _, key = name.partition(".")
    return f"{section}={{{key!r}: {value}}}" if key else f"{name}={value}"

"""Refusal of data that do not exist. torch is not imported, so that a misspelt path is refused at once."""

from __future__ import annotations

from collections.abc import Sequence

from danlu.message import message
from danlu.refuse import NOTHING, Refusal, either, refusal

MAX_NAMED = 4  # names offered in place of a misspelt one


WANTED = message("data.wanted.file_folder_name_known", "a file, a folder or the name of a known dataset")


def no_data() -> Refusal:
    """Create the refusal of an empty DATA."""
    return refusal("DATA", WANTED, NOTHING, do=message("data.do.try_digits", "try `danlu train digits`"))


def no_such_data(name: str, near: Sequence[str], do: str = "") -> Refusal:
    """Create the refusal of a DATA. near: existing names close to it, best first. do: next step if there are none."""
    if near:
        named = either([repr(one) for one in near[:MAX_NAMED]])
        do = message("data.do.did_you_mean", "did you mean {listed}?", listed=named)
    return refusal("DATA", WANTED, name, do=do)

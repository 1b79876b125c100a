"""Refusal of data that do not exist. torch is not imported, so that a misspelt path is refused at once."""

from __future__ import annotations

import os
from pathlib import Path

from danlu.data.known_sets import KNOWN
from danlu.message import message
from danlu.refuse import NOTHING, Refusal, either, nearest, nearest_files, refusal

MAX_NAMED = 4  # names offered in place of a misspelt one


WANTED = message("data.wanted.file_folder_name_known", "a file, a folder or the name of a known dataset")


def no_data() -> Refusal:
    """Create the refusal of an empty DATA."""
    return refusal("DATA", WANTED, NOTHING, do=message("data.do.try_digits", "try `danlu train digits`"))


def no_such_data(name: str) -> Refusal:
    """Create the refusal of a DATA that is neither a path nor a known name, with the nearest files and known names."""
    path = Path(name).expanduser()
    if path.is_symlink():
        got = message("data.got.broken_link", "a link to {target}, which does not exist", target=os.readlink(path))
        return refusal(f"DATA {name}", message("data.wanted.existing_file_folder", "an existing file or folder"), got)
    if near := nearest(name, KNOWN) + nearest_files(name):
        named = either([repr(one) for one in near[:MAX_NAMED]])
        return refusal("DATA", WANTED, name, do=message("data.do.did_you_mean", "did you mean {listed}?", listed=named))
    known = message("data.do.known_datasets", "known datasets: {listed}", listed=[*KNOWN])
    return refusal("DATA", WANTED, name, do=known)

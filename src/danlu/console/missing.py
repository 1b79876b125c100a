"""Refuse data and runs that do not exist before torch is imported, which takes seconds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from danlu.message import message
from danlu.refuse import either, nearest_files, refusal


def refuse_missing(values: Mapping[str, Any]) -> None:
    """Raise Refusal if the DATA of a verb is a path of nothing, and entries beside it have a similar name.

    Without such entries the readers refuse it, and list the known datasets.
    """
    data = values.get("data.path") or values.get("data")
    if not isinstance(data, str) or not _is_path(data) or os.path.lexists(os.path.expanduser(data)):
        return
    if near := nearest_files(data):
        raise refusal(
            "DATA",
            message("data.wanted.file_folder_name_known", "a file, a folder or the name of a known dataset"),
            data,
            do=message("data.do.did_you_mean", "did you mean {listed}?", listed=either([repr(n) for n in near])),
        )


def _is_path(data: str) -> bool:
    """Return whether a text can only be a path: it has a folder, and names no object (FILE.py:NAME)."""
    return any(separator in data for separator in (os.sep, "/")) and ".py:" not in data and "\0" not in data

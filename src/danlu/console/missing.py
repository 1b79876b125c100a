"""Refuse data and runs that do not exist before torch is imported, which takes seconds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from danlu.data.absent import no_such_data
from danlu.refuse import nearest_files


def refuse_missing(values: Mapping[str, Any]) -> None:
    """Raise Refusal if the DATA of a verb is a path of nothing, and entries beside it have a similar name.

    Without such entries the readers refuse it, and list the known datasets.
    """
    data = values.get("data.path") or values.get("data")
    if not isinstance(data, str) or not _is_path(data) or os.path.lexists(os.path.expanduser(data)):
        return
    if near := nearest_files(data):
        raise no_such_data(data, near)


def _is_path(data: str) -> bool:
    """Return whether a text can only be a path: it has a folder, and names no object (FILE.py:NAME)."""
    return any(separator in data for separator in (os.sep, "/")) and ".py:" not in data and "\0" not in data

"""Folder of known datasets and of files that danlu writes to read others."""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_ROOT = "~/.cache/danlu"


def data_root() -> Path:
    """Return the folder of known datasets and downloads: $DANLU_DATA, by default ~/.cache/danlu."""
    return Path(os.environ.get("DANLU_DATA") or DEFAULT_ROOT).expanduser()

"""Evidence that files are in a certain data format."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from danlu.message import Message


class Fit(IntEnum):
    """Strength of the evidence for a format. The strongest is read; a tie is refused as ambiguous."""

    POSSIBLE = 1  # no contradiction
    LAYOUT = 2  # folder and file names match the layout of the format
    CONVERTED = 3  # files of this format, which is often exported from the files of another format beside them
    MARKED = 4  # files with a signature of this format


@dataclass(frozen=True)
class Evidence:
    """Evidence for one format.

    fit: its strength. seen: the files it is based on, as a noun phrase. refuse: why these files cannot be read
    although the format is recognised, and what to do.
    """

    fit: Fit
    seen: Message
    refuse: Message | None = None

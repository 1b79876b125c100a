"""Evidence for a data format: how well it explains the files that were found, and why it may still not be readable."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from danlu.message import Message


class Fit(IntEnum):
    """How well a format explains a folder. The best fit is read; two equal fits are refused."""

    POSSIBLE = 1  # nothing speaks against it
    LAYOUT = 2  # the folders and names are arranged so
    CONVERTED = 3  # files of this format, of a kind that is often written out of another one beside it
    MARKED = 4  # files that bear this format's own marks


@dataclass(frozen=True)
class Evidence:
    """fit: see `Fit`. seen: the files that speak for the format, as a sentence without a subject.

    refuse: why these files cannot be read although the format is recognised, and what to do.
    """

    fit: Fit
    seen: Message
    refuse: Message | None = None

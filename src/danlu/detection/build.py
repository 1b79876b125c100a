"""Name -> detector: the table of all detectors, and what each stands on by default."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from danlu.detection.detector import Detector
from danlu.detection.yolo import YOLO
from danlu.refuse import refusal


@dataclass(frozen=True)
class Entry:
    """build: (backbone, classes, size, **options). backbone: the network it stands on where none is named.

    masks: it finds masks too. multiple: of which the side of the pictures must be one.
    """

    build: Callable[..., Detector]
    description: str
    backbone: str
    masks: bool = False
    multiple: int = 32

    @property
    def options(self) -> tuple[str, ...]:
        parameters = inspect.signature(self.build).parameters.values()
        return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


DETECTORS: dict[str, Entry] = {
    "yolo-nano": Entry(
        partial(YOLO, width=64), "anchor-free YOLO on cspnet-nano: fast, also without a card", "cspnet-nano"
    ),
    "yolo-tiny": Entry(partial(YOLO, width=96), "anchor-free YOLO on cspnet-tiny", "cspnet-tiny"),
    "yolo-small": Entry(partial(YOLO, width=128), "anchor-free YOLO on cspnet-small", "cspnet-small"),
}


def find_detector(name: str) -> Entry:
    """Refusal, with the nearest name, when there is no such detector."""
    if name not in DETECTORS:
        raise refusal("--model", "a detector", name, near=DETECTORS)
    return DETECTORS[name]


def build_detector(name: str, backbone: Any, *, classes: int, size: int, **options: Any) -> Detector:
    """A detector with drawn weights on a backbone (`models.build_backbone`), for pictures of size x size.

    Refusal for an unknown name, an option that it does not take, or a size it cannot.
    """
    entry = find_detector(name)
    options = {k: v for k, v in options.items() if v is not None}
    for option, value in options.items():
        if option not in entry.options:
            takes = ", ".join(entry.options) or "no options"
            raise refusal(option, f"left out for {name}, which takes {takes}", value)
    if size % entry.multiple:
        raise refusal("--size", f"a multiple of {entry.multiple} for {name}", size)
    return entry.build(backbone, classes, size, **options)

"""Images listed in several annotation files: their objects are merged, or refused where the files disagree."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from danlu.data.sources.labelled_images.labelled import Labelled, Thing
from danlu.message import Message, message
from danlu.refuse import Refusal

MIN_OVERLAP = 0.5  # IoU of two boxes of one object
MIN_AGAIN = 0.5  # fraction of the objects of a file that another file holds with other boxes, where both mean the same


class SharedImages:
    """The annotation file of each object, for images listed in several files."""

    def __init__(self) -> None:
        self._parts: dict[int, tuple[Labelled, list[tuple[str, int]]]] = {}  # file, index of its first object

    def begin(self, one: Labelled, source: str) -> None:
        """Note that the next objects of an image are of the annotation file `source`."""
        _, parts = self._parts.setdefault(id(one), (one, []))
        if not parts or parts[-1][0] != source:
            parts.append((source, len(one.things)))

    def settle(self, path: Path) -> list[Message]:
        """Keep one copy of objects that several files share; returns notes.

        Raises Refusal if two files hold the same objects with other boxes, so that it is not clear which are meant.
        """
        alike: Counter[tuple[str, str]] = Counter()
        joined: Counter[tuple[str, str]] = Counter()
        unlike: Counter[tuple[str, str]] = Counter()
        for one, parts in self._parts.values():
            first, kept = parts[0][0], _slice(one, parts, 0)
            for k in range(1, len(parts)):
                pair, own = (first, parts[k][0]), _slice(one, parts, k)
                if not own or not kept:
                    kept += own
                elif _count(own) <= _count(kept) or _count(kept) <= _count(own):
                    alike[pair] += 1
                    kept = max(kept, own, key=len)
                else:
                    (unlike if _again(own, kept) >= MIN_AGAIN else joined)[pair] += 1
                    kept += own
            one.things[:] = kept
        for (first, second), count in unlike.items():
            if 2 * count > alike[first, second] + joined[first, second]:
                text = (
                    "{path}: {first} and {second} both hold the objects of {count} {count:image|images}, with other "
                    "boxes: move the file that is not meant elsewhere"
                )
                raise Refusal(
                    message("data.refuse.two_annotations", text, path=path, first=first, second=second, count=count)
                )
        once = "{second} holds the objects of {count} {count:image|images} of {first} again: they are read once"
        both = "{first} and {second} both hold objects of {count} {count:image|images}: they are joined"
        return [
            *(message("data.note.objects_again", once, first=a, second=b, count=n) for (a, b), n in alike.items()),
            *(message("data.note.objects_joined", both, first=a, second=b, count=n)
              for (a, b), n in (joined + unlike).items()),
        ]  # fmt: skip


def _slice(one: Labelled, parts: list[tuple[str, int]], k: int) -> list[Thing]:
    return one.things[parts[k][1] : parts[k + 1][1] if k + 1 < len(parts) else None]


def _count(things: list[Thing]) -> Counter[tuple[int, tuple[float, ...]]]:
    return Counter((thing.label, tuple(round(float(v), 2) for v in thing.box)) for thing in things)


def _again(own: list[Thing], others: list[Thing]) -> float:
    """Fraction of the objects that overlap one of their class among the others."""
    found = 0
    for thing in own:
        boxes = np.array([other.box for other in others if other.label == thing.label], np.float64).reshape(-1, 4)
        low, high = np.maximum(boxes[:, :2], thing.box[:2]), np.minimum(boxes[:, 2:], thing.box[2:])
        both = np.clip(high - low, 0, None).prod(axis=1)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + float(np.prod(np.subtract(thing.box[2:], thing.box[:2])))
        found += bool((both > MIN_OVERLAP * (area - both)).any())
    return found / len(own)

"""Palettes of label masks: a number must have the same colour in all of them to be a class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from danlu.data.files.image_file import UNREADABLE, formats
from danlu.data.files.survey import File, sample
from danlu.message import message
from danlu.refuse import Refusal

MIN_MASKS = 4  # with fewer masks, colours that do not recur are no evidence
MOST_ALONE = 0.7  # of the colours, where they are those of objects
Colour = tuple[int, int, int]


def refuse_other_palettes(path: Path, masks: Sequence[tuple[File, np.ndarray]]) -> None:
    """Raise Refusal if masks give their numbers other colours, as tools do that save colours with a palette per file.

    masks: files, and the distinct values of each.
    """
    seen: dict[int, tuple[File, Colour]] = {}
    numbers: dict[Colour, int] = {}
    values = dict(masks)
    for mask in sample(list(values)):
        for value, colour in _palette(mask.path, values[mask]).items():
            first, known = seen.setdefault(value, (mask, colour))
            if known != colour and numbers.get(colour, value) != value:
                raise Refusal(
                    message(
                        "data.refuse.other_palettes",
                        "{path}: {value} is {one} in {first} and {other} in {second}, for each mask has a palette of "
                        "its own: write the masks again as RGB, so that their colours are the classes",
                        path=path, value=value, one=_hex(known), first=first.relative, other=_hex(colour),
                        second=mask.relative,
                    )
                )  # fmt: skip
            numbers.setdefault(colour, value)


def refuse_colours_of_objects(path: Path, values: Sequence[np.ndarray]) -> None:
    """Raise Refusal if most colours occur in one mask only, as where each object has a random colour.

    values: distinct colours of each mask.
    """
    seen = Counter(value for own in values for value in own.tolist())
    alone = sum(count == 1 for count in seen.values())
    if len(values) < MIN_MASKS or alone <= MOST_ALONE * len(seen):
        return
    text = (
        "{path}: {alone} of {colours} colours occur in one mask only, as of objects and not of classes: write masks "
        "that number the objects (--format instance-masks), or name the colours of classes in class_dict.csv "
        "(name,r,g,b)"
    )
    raise Refusal(message("data.refuse.colours_of_objects", text, path=path, alone=alone, colours=len(seen)))


def _palette(path: Path, values: np.ndarray) -> dict[int, Colour]:
    """Colours of the values that occur in a palette image, none of another one."""
    try:
        with Image.open(path, formats=formats()) as image:
            table = image.getpalette("RGB") if image.mode == "P" else None
    except UNREADABLE:
        return {}
    flat = table or []
    return {v: (flat[3 * v], flat[3 * v + 1], flat[3 * v + 2]) for v in values.tolist() if 3 * v + 2 < len(flat)}


def _hex(colour: Colour) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)

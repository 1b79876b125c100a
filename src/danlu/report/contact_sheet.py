"""Contact sheets: images of a data set side by side, with what is labelled in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from danlu.report.images import COLOURS, INK, MASK_ALPHA, PAPER, draw_label, draw_pose, fitted, font_of

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

MARGIN, GAP = 20, 12  # pixels around the sheet, between its images
TEXT_SIZE, SMALL_SIZE, HEADING_SIZE = 15, 12, 20  # pixels
MUTED, FRAME, IGNORED = (120, 120, 116), (224, 224, 220), (150, 150, 150)
MAX_LABELLED = 8  # objects of an image whose class is written at their box
MAX_LEGEND = 24  # classes


@dataclass(frozen=True)
class Drawn:
    """One object on an image. box: x1, y1, x2, y2 in pixels of the tile. mask: uint8 (H, W) of 0 and 1, or None.

    landmarks: corners of the model's box and its axes in pixels, see `pose.drawing`; empty without a pose. points: of
    the projected model.
    """

    label: int
    box: tuple[float, float, float, float]
    ignore: bool = False
    mask: np.ndarray | None = None
    landmarks: Sequence[Sequence[float]] = ()
    points: Sequence[Sequence[float]] = ()


@dataclass(frozen=True)
class Tile:
    """One image of a sheet with the text below it. caption: labels. name: of the file."""

    image: Image.Image
    caption: str
    name: str


def colour_of(label: int) -> tuple[int, int, int]:
    """Colour of a class, by its number."""
    return COLOURS[label % len(COLOURS)]


def draw_annotation(image: Image.Image, objects: Sequence[Drawn], classes: Sequence[str]) -> Image.Image:
    """Draw masks, boxes and class names in the colours of the classes; objects to be ignored in grey.

    With one class each object has a colour of its own. Names are left out on images of many objects, which they would
    cover.
    """
    from PIL import Image, ImageDraw

    out = image.convert("RGB")
    numbers = range(len(objects)) if len(classes) == 1 else [one.label for one in objects]
    colours = [IGNORED if one.ignore else colour_of(number) for one, number in zip(objects, numbers)]
    for one, colour in zip(objects, colours):
        if one.mask is not None:
            out.paste(colour, (0, 0), Image.fromarray(one.mask * np.uint8(255 * MASK_ALPHA)))
    draw = ImageDraw.Draw(out)
    for one, colour in zip(objects, colours):
        draw_pose(draw, one.landmarks, colour, one.points)
    for one, colour in zip(objects, colours):
        x1, y1, x2, y2 = one.box
        draw.rectangle((x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)), outline=colour, width=1 if len(objects) > 40 else 2)
    if len(objects) <= MAX_LABELLED and len(classes) > 1:
        for one, colour in zip(objects, colours):
            draw_label(draw, classes[one.label], (one.box[0], one.box[1]), colour, font_of(SMALL_SIZE), out.size)
    return out


def contact_sheet(tiles: Sequence[Tile], heading: str, legend: Sequence[str], columns: int, side: int) -> Image.Image:
    """Arrange images in rows of `columns`, each above its labels and its name.

    Args:
        tiles: Images of at most `side` x `side` pixels.
        heading: One line at the top.
        legend: Class names in the order of their colours; empty for no legend.
        side: Room for each image in pixels.
    """
    from PIL import Image, ImageDraw

    columns = max(1, min(columns, len(tiles) or 1))
    rows = -(-len(tiles) // columns)
    width = max(2 * MARGIN + columns * (side + GAP) - GAP, 480)
    entries = _legend_places(legend, width)
    top = MARGIN + 2 * HEADING_SIZE + (entries[-1][1] + 2 * TEXT_SIZE if entries else 0)
    text_height = round(1.4 * (TEXT_SIZE + SMALL_SIZE)) + 4
    sheet = Image.new("RGB", (width, top + rows * (side + text_height + GAP) - GAP + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), fitted(heading, font_of(HEADING_SIZE), width - 2 * MARGIN), INK, font_of(HEADING_SIZE))
    for (x, y), (number, name) in zip(entries, enumerate(legend)):
        _entry(draw, (MARGIN + x, MARGIN + 2 * HEADING_SIZE + y), name, number)
    for place, tile in enumerate(tiles):
        left = MARGIN + (place % columns) * (side + GAP)
        upper = top + (place // columns) * (side + text_height + GAP)
        draw.rectangle((left - 1, upper - 1, left + side, upper + side), outline=FRAME, fill=(246, 246, 244))
        image = tile.image
        sheet.paste(image, (left + (side - image.width) // 2, upper + (side - image.height) // 2))
        draw.text((left, upper + side + 4), fitted(tile.caption, font_of(TEXT_SIZE), side), INK, font_of(TEXT_SIZE))
        below = upper + side + 4 + round(1.4 * TEXT_SIZE)
        draw.text(
            (left, below), fitted(tile.name, font_of(SMALL_SIZE), side, keep_end=True), MUTED, font_of(SMALL_SIZE)
        )
    return sheet


def _legend_places(legend: Sequence[str], width: int) -> list[tuple[int, int]]:
    """x, y of each entry of the legend, in lines that fit the width."""
    font, places = font_of(TEXT_SIZE), list[tuple[int, int]]()
    x = y = 0
    for name in legend[:MAX_LEGEND]:
        needed = round(font.getlength(fitted(name, font, 200))) + 3 * TEXT_SIZE
        if x and x + needed > width - 2 * MARGIN:
            x, y = 0, y + round(1.6 * TEXT_SIZE)
        places.append((x, y))
        x += needed
    return places


def _entry(draw: ImageDraw.ImageDraw, corner: tuple[int, int], name: str, number: int) -> None:
    x, y = corner
    draw.rectangle((x, y + 2, x + TEXT_SIZE, y + 2 + TEXT_SIZE), fill=colour_of(number))
    font = font_of(TEXT_SIZE)
    draw.text((x + round(1.5 * TEXT_SIZE), y), fitted(name, font, 200), INK, font)

"""Columns of tables that hold a box: their names, and the form of their numbers."""

from __future__ import annotations

import re

from danlu.data.sources.labelled_images.box_forms import BoxForm

BOXES: tuple[tuple[tuple[str, ...], BoxForm], ...] = (  # plain column names of a box -> form of its numbers
    (("xmin", "ymin", "xmax", "ymax"), "corners"),
    (("minx", "miny", "maxx", "maxy"), "corners"),
    (("x0", "y0", "x1", "y1"), "corners"),
    (("x1", "y1", "x2", "y2"), "corners"),
    (("left", "top", "right", "bottom"), "corners"),
    (("xtl", "ytl", "xbr", "ybr"), "corners"),
    (("startx", "starty", "endx", "endy"), "corners"),
    (("upperleftcornerx", "upperleftcornery", "lowerrightcornerx", "lowerrightcornery"), "corners"),
    (("topleftx", "toplefty", "bottomrightx", "bottomrighty"), "corners"),
    (("leftcol", "toprow", "rightcol", "bottomrow"), "corners"),
    (("xcenter", "ycenter", "width", "height"), "centred"),
    (("xcentre", "ycentre", "width", "height"), "centred"),
    (("centerx", "centery", "width", "height"), "centred"),
    (("cx", "cy", "w", "h"), "centred"),
    (("cx", "cy", "width", "height"), "centred"),
    (("x", "y", "w", "h"), "sized"),
    (("x", "y", "width", "height"), "sized"),
    (("xmin", "ymin", "width", "height"), "sized"),
    (("left", "top", "width", "height"), "sized"),
)
BOX_PREFIX = re.compile(r"^(bbox|boundingbox|box|roi)(?=[a-z])")  # of plain column names
GEOMETRY = re.compile(r"^(center|centre|bbox|box)?(x|y)\d*(min|max|center|centre|c)?$|^(left|top|right|bottom)$")
MIN_GEOMETRY = 2  # min number of columns named like coordinates in a table of boxes
BOX_COLUMN = ("bbox", "box", "bounding_box")
MAKE_SENSE = ("label", "bbox_x", "bbox_y", "bbox_width", "bbox_height", "image", "image_width", "image_height")


def plain(name: str) -> str:
    """Name of a column in lower case without anything but letters and digits, to be compared."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def box_columns(lower: tuple[str, ...]) -> tuple[tuple[int, ...], BoxForm] | None:
    """The four columns of a box and the form of its numbers."""
    places: dict[str, int] = {}
    for i, name in enumerate(lower):
        places.setdefault(plain(name), i)
    short = {BOX_PREFIX.sub("", name): i for name, i in places.items()}
    for known in (short | places, short):
        for names, form in BOXES:
            if set(names) <= set(known):
                return tuple(known[name] for name in names), form
    return None

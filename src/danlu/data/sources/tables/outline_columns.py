"""Columns of tables that hold the outline of an object: WKT, lists of points, or numbers one after the other."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence

import numpy as np

from danlu.data.annotations import Polygons
from danlu.data.sources.labelled_images.reading import corners

OUTLINE_COLUMNS = ("polygon", "polygons", "geometry", "segmentation", "outline", "contour", "vertices", "coordinates")
OUTLINE_COLUMNS += ("wkt", "polygonwkt", "polygonpoints", "wktpix", "wktgeom")
WKT = re.compile(r"\s*(?:MULTI)?POLYGON\s*Z?\s*\(", re.I)
WKT_RING = re.compile(r"\(([^()]+)\)")
MIN_OUTLINES = 0.9  # fraction of the filled cells


def are_outlines(name: str, values: Sequence[str]) -> bool:
    """Return whether a column holds outlines. name: of the column, in lower-case letters and digits."""
    filled = [value for value in values if value.strip()]
    if not filled or not (name in OUTLINE_COLUMNS or all(WKT.match(value) for value in filled)):
        return False
    good = sum((found := outline_of(value)) is not None and len(found.rings[0]) > 2 for value in filled)
    return good >= MIN_OUTLINES * len(filled)


def outline_of(value: str) -> Polygons | None:
    """The outline in a text; None if it is none. The holes of WKT are rings too, as the even-odd rule fills them."""
    try:
        if WKT.match(value):
            texts = WKT_RING.findall(value)
            rings = [corners([point.split()[:2] for point in text.split(",")]) for text in texts]
        else:
            rings = _rings(_parsed(value))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    return Polygons(tuple(rings)) if rings and all(np.isfinite(ring).all() for ring in rings) else None


def _parsed(value: str) -> object:
    text = value.strip()
    if text[:1] in "[({":
        try:
            return json.loads(text)
        except ValueError:
            return ast.literal_eval(text)
    return [float(word) for word in re.split(r"[\s,;]+", text) if word]


def _rings(points: object) -> list[np.ndarray]:
    """A list of points, of numbers, or of such lists, as rings."""
    if isinstance(points, tuple):
        points = list(points)
    if isinstance(points, list) and points and all(isinstance(one, (list, tuple)) for one in points):
        inner = [list(one) for one in points]
        if any(isinstance(one[0], (list, tuple)) or len(one) > 2 for one in inner if one):
            return [corners(one) for one in inner]
        points = inner
    return [corners(points)]

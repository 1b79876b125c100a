"""Convert a mask to an SVG path along its pixel edges, including the edges of holes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from danlu.data.annotations import RunLengths, decode_runs, parse_runs

MAX_SIDE = 640  # pixels; larger masks are subsampled by an integer step

Corner = tuple[int, int]  # x, y


def outline(mask: Mapping[str, Any]) -> str:
    """Return the `d` attribute of a path around a mask, for the fill rule "evenodd".

    Args:
        mask: COCO run lengths {"size": [height, width], "counts": compressed text}.

    Returns:
        Path in pixels; "" if the mask is empty or invalid.
    """
    try:
        height, width = (int(side) for side in mask["size"])
        runs = RunLengths(parse_runs(str(mask["counts"]).encode()), (height, width))
        pixels = decode_runs(runs).astype(bool)
    except (KeyError, TypeError, ValueError):  # truncated or edited summary
        return ""
    step = -(-max(height, width) // MAX_SIDE)
    return "".join(_path(corners, step) for corners in _loops(pixels[::step, ::step]))


def _loops(pixels: np.ndarray) -> list[list[Corner]]:
    """Closed loops along the edges, with the pixels of the mask on their right-hand side."""
    edges = _edges(np.pad(pixels, 1))
    loops = []
    while edges:
        start = next(iter(edges))
        loop, corner = [start], start
        while True:
            ends = edges[corner]
            following = ends.pop()
            if not ends:
                del edges[corner]
            corner = following
            loop.append(corner)
            if corner == start:
                break
        loops.append(loop)
    return loops


def _edges(padded: np.ndarray) -> dict[Corner, list[Corner]]:
    """Map the start corner of each edge to its end corners; two edges start where two pixels touch diagonally."""
    inside, edges = padded[1:-1, 1:-1], defaultdict[Corner, list[Corner]](list)
    sides = (  # neighbour across the edge; start and end of the edge, relative to the upper left corner of the pixel
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    )
    for neighbour, (x1, y1), (x2, y2) in sides:
        for y, x in np.argwhere(inside & ~neighbour).tolist():
            edges[x + x1, y + y1].append((x + x2, y + y2))
    return edges


def _path(corners: list[Corner], step: int) -> str:
    """Path of a loop, with consecutive edges of one direction merged into one line."""
    moves = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(corners)]
    lines = []
    for (x, y), same in groupby(moves):
        count = step * len(list(same))
        lines.append(f"h{x * count}" if x else f"v{y * count}")
    return f"M{corners[0][0] * step} {corners[0][1] * step}{''.join(lines[:-1])}z"

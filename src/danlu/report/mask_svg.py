"""A mask as a path of SVG: along the edges of its pixels, around the outside and around every hole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from danlu.data.annotations import RunLengths, decode_runs, parse_runs

FINE = 640  # pixels of the longer side: of larger images only every second, third ... pixel is looked at

Corner = tuple[int, int]


def outline(mask: Mapping[str, Any]) -> str:
    """COCO's run lengths {"size": [height, width], "counts": text} -> the `d` of a path, in pixels; "" of no mask.

    To be filled by the rule "evenodd".
    """
    try:
        height, width = (int(side) for side in mask["size"])
        runs = RunLengths(parse_runs(str(mask["counts"]).encode()), (height, width))
        pixels = decode_runs(runs).astype(bool)
    except (KeyError, TypeError, ValueError):  # a summary that was cut or edited
        return ""
    step = -(-max(height, width) // FINE)
    return "".join(_path(corners, step) for corners in _loops(pixels[::step, ::step]))


def _loops(pixels: np.ndarray) -> list[list[Corner]]:
    """Closed ways along the edges, the pixels of the mask on the right-hand side."""
    ahead = _edges(np.pad(pixels, 1))
    loops = []
    while ahead:
        start = next(iter(ahead))
        loop, here = [start], start
        while True:
            ends = ahead[here]
            there = ends.pop()
            if not ends:
                del ahead[here]
            here = there
            loop.append(here)
            if here == start:
                break
        loops.append(loop)
    return loops


def _edges(padded: np.ndarray) -> dict[Corner, list[Corner]]:
    """Edges between pixels inside and outside, from corner to corner (x, y); where two pixels touch, two begin."""
    inside, ahead = padded[1:-1, 1:-1], defaultdict[Corner, list[Corner]](list)
    sides = (  # the neighbour that is outside, and the edge's two corners from the pixel's upper left one
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    )
    for beside, (x1, y1), (x2, y2) in sides:
        for y, x in np.argwhere(inside & ~beside).tolist():
            ahead[x + x1, y + y1].append((x + x2, y + y2))
    return ahead


def _path(corners: list[Corner], step: int) -> str:
    """Straight runs of edges as one line each."""
    moves = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(corners)]
    lines = []
    for (x, y), same in groupby(moves):
        count = step * len(list(same))
        lines.append(f"h{x * count}" if x else f"v{y * count}")
    return f"M{corners[0][0] * step} {corners[0][1] * step}{''.join(lines[:-1])}z"

"""Masks as outlines: one ring of corners along the edges of pixels, and COCO's run lengths."""

from __future__ import annotations

import numpy as np

from danlu.data.annotations import Polygons, Shape, rasterise
from danlu.data.canvas import Placement


def mask_of(shape: Shape, size: tuple[int, int]) -> np.ndarray:
    """Pixels of an outline on its image, uint8 (H, W) of 0 and 1. size: (height, width)."""
    return rasterise([shape], Placement(size, size, (1.0, 1.0)))[0]


def ring_of(shape: Shape, size: tuple[int, int]) -> np.ndarray:
    """One closed ring (K, 2) of x, y that encloses the object by the even-odd rule; empty for an object of no pixel.

    A single polygon is kept. Anything else is followed along the edges of its pixels; separate parts and holes are
    joined by lines that are gone along there and back, so that they enclose nothing.
    """
    if isinstance(shape, Polygons) and len(shape.rings) == 1:
        return shape.rings[0]
    loops = _loops(mask_of(shape, size))
    if not loops:
        return np.zeros((0, 2))
    start = loops[0][:1]
    parts = [np.concatenate([loop, loop[:1], start]) for loop in loops[1:]]
    first = np.concatenate([loops[0], start]) if parts else loops[0]
    ring = np.concatenate([first, *parts])
    return ring[:-1] if parts else ring


def _loops(mask: np.ndarray) -> list[np.ndarray]:
    """Closed paths (K, 2) of corners x, y along the edges between pixels of 1 and of 0, each without its end."""
    padded = np.pad(mask.astype(bool), 1)
    edges: dict[tuple[int, int], list[tuple[int, int]]] = {}
    # Directed edges with the inside on the right: along each row to the right above it, to the left below it, ...
    inside = padded[1:-1, 1:-1]
    for dy, dx, start, end in (
        (-1, 0, (0, 0), (1, 0)),
        (0, 1, (1, 0), (1, 1)),
        (1, 0, (1, 1), (0, 1)),
        (0, -1, (0, 1), (0, 0)),
    ):
        outside = ~padded[1 + dy : 1 + dy + mask.shape[0], 1 + dx : 1 + dx + mask.shape[1]]
        for y, x in np.argwhere(inside & outside).tolist():
            edges.setdefault((x + start[0], y + start[1]), []).append((x + end[0], y + end[1]))
    loops = []
    while edges:
        origin = next(iter(edges))
        path, here = [], origin
        while True:
            path.append(here)
            ends = edges[here]
            following = ends.pop()
            if not ends:
                del edges[here]
            here = following
            if here == origin:
                break
        loops.append(_corners(np.array(path, np.float64)))
    return loops


def _corners(path: np.ndarray) -> np.ndarray:
    """The points of a closed path at which it turns."""
    turns = (np.roll(path, 1, axis=0) - path) != (path - np.roll(path, -1, axis=0))
    return path[turns.any(axis=1)]


def run_lengths(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed run lengths of a mask (H, W): alternately of zeros and ones, column by column."""
    pixels = mask.T.reshape(-1)
    changes = np.flatnonzero(np.diff(pixels)) + 1
    bounds = np.concatenate([[0], changes, [pixels.size]])
    runs = np.diff(bounds).tolist()
    return [0, *runs] if pixels.size and pixels[0] else runs

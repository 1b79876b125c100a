"""Outlines of objects for segmentation, and why one cannot be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from danlu.data.annotations import Polygons, RunLengths, Shape
from danlu.data.dataset import Problem
from danlu.data.sources.labelled_images.labelled import Labelled, Thing, where_of
from danlu.message import message
from danlu.refuse import Refusal

IGNORED = ", so it is ignored in training"  # of objects whose mask cannot be used


def outlined(
    path: Path,
    found: list[Labelled],
    sizes: Sequence[tuple[int, int]],
    things: list[Thing],
    boxes: np.ndarray,
    owner: np.ndarray,
    problems: list[Problem],
) -> list[Thing]:
    """Give each object an outline; without a usable one its box is used and the object is ignored."""
    kept, lost = [], 0
    for thing, box, i in zip(things, boxes, owner):
        one, shape = found[i], thing.shape
        if one.fractions and isinstance(shape, Polygons):
            shape = Polygons(tuple(ring * (sizes[i][1], sizes[i][0]) for ring in shape.rings))
        if isinstance(shape, Polygons):
            whole = tuple(ring for ring in shape.rings if len(ring) >= 3)
            if whole and len(whole) < len(shape.rings):
                reason = message(
                    "data.problem.rings_fewer_three_corners",
                    "{number} rings of fewer than three corners are left out of its outline",
                    number=len(shape.rings) - len(whole),
                )
                problems.append(Problem(where_of(one, thing), reason, "kept"))
            shape = Polygons(whole)
        fault = _outline_fault(shape, sizes[i])
        if fault:
            lost += 1
            reason = message("data.problem.outline", f"{{fault}}{IGNORED}", fault=fault)
            problems.append(Problem(where_of(one, thing), reason, "kept"))
            x1, y1, x2, y2 = box.astype(np.float64)
            shape = Polygons((np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]),))
        kept.append(thing._replace(shape=shape, ignore=thing.ignore or bool(fault)))
    if things and lost == len(things):
        raise Refusal(
            message(
                "data.refuse.object_usable_outline_segment",
                "{path}: no object has a usable outline to segment by ({where}); use --task detect",
                path=path,
                where=problems[-1].where,
            )
        )
    return kept


def _outline_fault(shape: Shape | None, size: tuple[int, int]) -> str:
    """Reason why an outline cannot be drawn, in a few words."""
    if shape is None:
        return message("data.problem.no_outline", "no outline")
    if isinstance(shape, Polygons):
        if not shape.rings:
            return message("data.problem.polygon_corners", "a polygon of fewer than three corners")
        return (
            ""
            if all(np.isfinite(ring).all() for ring in shape.rings)
            else message("data.problem.polygon_not_finite", "a polygon that is not finite")
        )
    if isinstance(shape, RunLengths):
        if shape.size != size:
            return message(
                "data.problem.run_lengths_size",
                "run lengths for an image of {width} x {height}",
                width=shape.size[1],
                height=shape.size[0],
            )
        whole = shape.counts.size > 0 and shape.counts.min() >= 0 and int(shape.counts.sum()) == size[0] * size[1]
        return "" if whole else message("data.problem.run_lengths_short", "run lengths that do not cover the image")
    return ""

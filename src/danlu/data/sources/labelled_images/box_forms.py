"""Recognise boxes that are written in another form than their format has: corners for sizes, fractions for pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from danlu.data.sources.labelled_images.labelled import Labelled, too_many_bad
from danlu.message import message
from danlu.refuse import Refusal

BoxForm = Literal["corners", "sized", "centred"]  # x1, y1, x2, y2; or x, y, width, height, of a corner or the centre
NAMES = {"sized": "x, y, width, height", "centred": "the centre, width, height"}
MIN_BOXES = 3  # fewer are no evidence
NEARLY_ALL = 0.9  # of the boxes; the others may be faulty
ROUNDING_FRACTION = 0.02  # of the image's side, beyond which a box does not leave its image by rounding
MIN_PIXELS = 4.0  # a coordinate beyond it is no fraction of a faulty box
MIN_BEYOND = 0.2  # fraction of the boxes that leave their images where the form is another
MIN_CENTRED = 6  # boxes that leave their images; fewer may be at their edges by chance
MIN_SIDE = 8  # pixels of an image, in which no object is as small as a pixel


def refuse_other_forms(path: Path, found: Sequence[Labelled], sizes: Sequence[tuple[int, int]], form: BoxForm) -> None:
    """Raise Refusal if the boxes fit their images only in another form.

    sizes: (height, width) of the images. form: that of the numbers from which the boxes were computed.
    """
    rows = [
        (thing.box, size, one.fractions)
        for one, size in zip(found, sizes)
        for thing in one.things
        if not thing.fault and (thing.shape is None or form != "centred")
    ]
    boxes = np.array([box for box, _, _ in rows], np.float64).reshape(-1, 4)
    finite = np.isfinite(boxes).all(axis=1)
    boxes = boxes[finite]
    if len(boxes) < MIN_BOXES:
        return
    fractions = np.array([own for _, _, own in rows])[finite]
    sides = np.array([size[::-1] for _, size, _ in rows], np.float64)[finite]
    pixels = not fractions.any() and sides.min() >= MIN_SIDE
    if pixels and (few := _refuse_some_fractions(path, boxes)) is not None:
        raise few
    if pixels and (are_fractions(boxes) or are_fractions(_from_one(boxes))):
        raise Refusal(
            message(
                "data.refuse.all_boxes_lie_between",
                "{path}: nearly all of {boxes} boxes lie between 0 and 1, as fractions of the image instead of "
                "pixels: multiply them by its width and height, or use --on-bad skip",
                path=path,
                boxes=len(boxes),
            )
        )
    bounds = np.where(fractions[:, None], 1.0, sides)
    if form == "sized" and _are_centred(boxes, bounds):
        text = (
            "{path}: the boxes fit their images as the centre, width, height but not as the corner, width, height: "
            "convert them, or call the columns of a table x_center and y_center, or use --on-bad skip"
        )
        raise Refusal(message("data.refuse.boxes_of_centres", text, path=path))
    if form != "corners" and _are_corners(boxes, bounds, form):
        raise Refusal(
            message(
                "data.refuse.boxes_fit_their_images",
                "{path}: the boxes fit their images as x1, y1, x2, y2 but not as {names}, the form of "
                "this format: convert them, or use --on-bad skip",
                path=path,
                names=NAMES[form],
            )
        )


def refuse_pixels(path: Path, found: Sequence[Labelled]) -> None:
    """Raise Refusal if most boxes of a format of fractions are in pixels: clipped, they would cover whole images."""
    boxes = [thing.box for one in found if one.fractions for thing in one.things if not thing.fault]
    far = sum(max(box) > MIN_PIXELS for box in boxes)
    if len(boxes) >= MIN_BOXES and far > 0.5 * len(boxes):
        raise Refusal(
            message(
                "data.refuse.boxes_in_pixels",
                "{path}: {far} of {boxes} boxes are far larger than 1, as in pixels instead of fractions of the image: "
                "divide them by its width and height",
                path=path, far=far, boxes=len(boxes),
            )
        )  # fmt: skip


def are_fractions(boxes: np.ndarray) -> bool:
    """Return whether nearly all boxes (N, 4) of x1, y1, x2, y2 are in fractions of their images, and not in pixels."""
    ends = boxes[:, 2:]
    inside = (boxes >= -ROUNDING_FRACTION).all(axis=1) & (ends <= 1 + ROUNDING_FRACTION).all(axis=1)
    return bool(len(boxes) and inside.mean() >= NEARLY_ALL and (ends[inside] % 1).any())


def _from_one(boxes: np.ndarray) -> np.ndarray:
    """The numbers of boxes whose pixels were counted from 1, as VOC's."""
    return boxes + np.array([1, 1, 0, 0])


def _refuse_some_fractions(path: Path, boxes: np.ndarray) -> Refusal | None:
    """The refusal of boxes of which more than a few, but not all, are in fractions of the image instead of pixels."""
    small = (boxes >= 0).all(axis=1) & (boxes <= 1).all(axis=1) & (boxes[:, 2:] % 1).any(axis=1)
    count = int(small.sum())
    if not MIN_BOXES <= count < NEARLY_ALL * len(boxes) or not too_many_bad(count, len(boxes)):
        return None
    text = (
        "{path}: {count} of {boxes} boxes lie between 0 and 1, as fractions of the image, the others are in pixels: "
        "write all in pixels, or use --on-bad skip"
    )
    return Refusal(message("data.refuse.some_fractions", text, path=path, count=count, boxes=len(boxes)))


def _are_centred(boxes: np.ndarray, bounds: np.ndarray) -> bool:
    """Return whether boxes of a corner and a size leave their images, and lie inside if the corner is their centre."""
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    starts, ends = boxes[:, :2] - half, boxes[:, :2] + half
    slack = ROUNDING_FRACTION * bounds
    inside = (starts >= -slack).all(axis=1) & (ends <= bounds + slack).all(axis=1)
    beyond = (boxes[:, 2:] - bounds > ROUNDING_FRACTION * bounds).any(axis=1)
    return bool(inside.mean() >= NEARLY_ALL and beyond.mean() > MIN_BEYOND and beyond.sum() >= MIN_CENTRED)


def _are_corners(boxes: np.ndarray, bounds: np.ndarray, form: BoxForm) -> bool:
    """Return whether most boxes leave their images, and the same numbers taken as corners lie inside."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    starts = boxes[:, :2] + (sizes / 2 if form == "centred" else 0)
    inside = (
        (starts >= 0).all(axis=1)
        & (sizes > starts).all(axis=1)
        & (sizes <= bounds * (1 + ROUNDING_FRACTION)).all(axis=1)
    )
    beyond = np.maximum(-boxes[:, :2], boxes[:, 2:] - bounds) > ROUNDING_FRACTION * bounds
    return bool(inside.mean() >= NEARLY_ALL and beyond.any(axis=1).mean() > 0.5)

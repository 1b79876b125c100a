"""Compare the sizes of images with those they were annotated at: turned, resized, or only written wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from danlu.data.annotations import MaskFile
from danlu.data.dataset import Problem
from danlu.data.files.image_file import ImageInfo
from danlu.data.sources.labelled_images.labelled import Labelled, relative, too_many_bad
from danlu.message import message
from danlu.refuse import Refusal

ROUNDING = 1.0  # pixels that a box may exceed the image without a note, because tools round or count from 0
SAME_PROPORTIONS = 0.02  # relative difference of the scales of width and height, where an image was resized


def compared(
    found: list[Labelled], infos: list[ImageInfo], root: Path, problems: list[Problem]
) -> tuple[list[Labelled], list[ImageInfo]]:
    """Drop images whose rotation or mask does not match; report images whose size differs from the annotation."""
    kept = []
    for one, info in zip(found, infos):
        skipped = False
        if one.size is not None and one.size != (info.height, info.width):
            said, real = f"{one.size[1]} x {one.size[0]}", f"{info.width} x {info.height}"
            turned = one.size == (info.width, info.height)
            skipped = turned or any(isinstance(thing.shape, MaskFile) for thing in one.things)
            but = message("data.problem.boxes_are_pixels", "boxes are taken as pixels")
            if skipped:
                but = message("data.problem.mask_does_not_fit", "its mask does not fit")
            if turned:
                but = message("data.problem.turned", "it is turned (EXIF?)")
            reason = message(
                "data.problem.annotated_size",
                "size {annotated} as annotated, but {file} is {size}: {more}",
                annotated=said,
                file=relative(one.image, root),
                size=real,
                more=but,
            )
            problems.append(Problem(one.where, reason, "skipped" if skipped else "kept"))
        if not skipped:
            kept.append((one, info))
    return [one for one, _ in kept], [info for _, info in kept]


def refuse_resized(path: Path, found: Sequence[Labelled], infos: Sequence[ImageInfo]) -> None:
    """Raise Refusal if many images have another scale than they were annotated at, and their boxes fit the old one."""
    scaled = [(one, info) for one, info in zip(found, infos) if _is_scaled(one, info)]
    if not too_many_bad(len(scaled), len(found)):
        return
    one, info = scaled[0]
    height, width = one.size or (0, 0)
    raise Refusal(
        message(
            "data.refuse.images_resized",
            "{path}: {scaled} of {found} images were resized after their annotation ({where}: {width} x {height} as "
            "annotated, {width2} x {height2} now), but not their boxes: scale the boxes, use the images of that time, "
            "or use --on-bad skip where the boxes are right",
            path=path, scaled=len(scaled), found=len(found), where=one.where,
            width=width, height=height, width2=info.width, height2=info.height,
        )
    )  # fmt: skip


def _is_scaled(one: Labelled, info: ImageInfo) -> bool:
    """Return whether an image was resized: same proportions as annotated, and boxes that fit the old size."""
    if one.size is None or one.fractions or min(one.size) <= 0 or one.size == (info.height, info.width):
        return False
    scale = np.array([info.width / one.size[1], info.height / one.size[0]])
    boxes = np.array([thing.box for thing in one.things if not thing.fault], np.float64).reshape(-1, 4)
    inside = (boxes[:, 2:] <= np.array(one.size[::-1]) + ROUNDING).all() and (boxes[:, :2] >= -ROUNDING).all()
    return bool(len(boxes) and inside and abs(scale[0] / scale[1] - 1) < SAME_PROPORTIONS)

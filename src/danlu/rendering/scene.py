"""One rendered image with its objects: chosen, arranged, drawn, and put before a background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from danlu.rendering.arrangement import CameraSetup, Placed, arrange, chosen_objects
from danlu.rendering.distractors import distractors
from danlu.rendering.looks import (
    as_photograph,
    drawn_background,
    photo_background,
    point_colours,
    random_light,
    with_shadow,
)
from danlu.rendering.views import FINE, DrawnObject, SceneLight, Shape, draw_view

MIN_PIXELS = 12  # visible; objects with less are no objects of the image


@dataclass(frozen=True)
class RenderedObject:
    """An object that is seen. number: of its shape. bounds: x1, y1, x2, y2 of its projected points. mask: its visible
    pixels, bool (H, W). area, seen: pixels without and with other objects before it.
    """

    number: int
    rotation: np.ndarray
    translation: np.ndarray
    bounds: np.ndarray
    mask: np.ndarray
    area: float
    seen: float


@dataclass(frozen=True)
class RenderedImage:
    """An image and its objects."""

    image: Image.Image
    objects: list[RenderedObject]


def render_image(
    rng: np.random.Generator, shapes: Sequence[Shape], stage: CameraSetup, backgrounds: Sequence[Path]
) -> RenderedImage:
    """Render one image. backgrounds: photographs; without any, backgrounds are drawn."""
    present = chosen_objects(rng, len(shapes))
    typical = float(np.median([shape.extent for shape in shapes]))
    cast = [shapes[k] for k in present] + distractors(rng, shapes, typical)
    placed, up = arrange(rng, cast, stage)
    light = random_light(rng, up)
    views = [(one, _view(rng, cast[one.number], one, stage, light)) for one in placed]
    drawn = [(one, view) for one, view in views if view is not None]
    colours, item = _composed([view for _, view in drawn], stage.size)
    covered = _reduced((item >= 0).astype(np.float32))
    background = photo_background(rng, backgrounds, stage.size) if backgrounds else drawn_background(rng, stage.size)
    pixels = typical * stage.camera[0, 0] / np.mean(stage.depth)
    background = with_shadow(rng, background, covered, pixels)
    canvas = _reduced(colours) + (1 - covered)[..., None] * background
    objects = []
    for order, (one, view) in enumerate(drawn):
        if one.number >= len(present):
            continue
        visible = _reduced((item == order).astype(np.float32))
        mask, seen = visible >= 0.5, float(visible.sum())
        if mask.sum() >= MIN_PIXELS:
            number = int(present[one.number])
            objects.append(
                RenderedObject(number, one.rotation, one.translation, view.bounds, mask, max(view.area, seen), seen)
            )
    return RenderedImage(as_photograph(rng, canvas), objects)


def _view(
    rng: np.random.Generator, shape: Shape, one: Placed, stage: CameraSetup, light: SceneLight
) -> DrawnObject | None:
    colours = point_colours(rng, shape.mesh.points, shape.mesh.colours, shape.extent)
    return draw_view(shape, colours, one.rotation, one.translation, stage.camera, stage.size, light)


def _composed(views: Sequence[DrawnObject], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Nearest surfaces: colours (h, w, 3), 0 where none is, and number of the view (h, w) or -1, in fine pixels."""
    height, width = FINE * size[0], FINE * size[1]
    colours, item = np.zeros((height, width, 3), np.float32), np.full((height, width), -1)
    depth = np.full((height, width), np.inf, np.float32)
    for number, view in enumerate(views):
        top, left = view.corner
        h, w = view.depth.shape
        rows = slice(max(top, 0), max(min(top + h, height), 0))
        columns = slice(max(left, 0), max(min(left + w, width), 0))
        own = np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        nearer = (view.depth[own] > 0) & (view.depth[own] < depth[rows, columns])
        depth[rows, columns][nearer] = view.depth[own][nearer]
        colours[rows, columns][nearer] = view.colours[own][nearer]
        item[rows, columns][nearer] = number
    return colours, item


def _reduced(fine: np.ndarray) -> np.ndarray:
    """Mean over the fine pixels of each pixel, (H, W, ...)."""
    h, w = fine.shape[0] // FINE, fine.shape[1] // FINE
    return fine.reshape(h, FINE, w, FINE, *fine.shape[2:]).mean((1, 3))

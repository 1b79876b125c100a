"""`shapes`: synthetic images of circles, squares and triangles with boxes, masks and poses, generated from a seed.

It serves to test detectors without a download. Later shapes occlude earlier ones; a mask has the visible pixels of a
shape, and a box is the bounding box of the mask.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from danlu.data.annotations import Annotation, Raster
from danlu.data.dataset import Dataset
from danlu.data.sources.tables.targets import Task
from danlu.task_spec import TASKS, object_task

CLASSES = ("circle", "square", "triangle")
SYMMETRY = (0.0, math.pi / 2, 2 * math.pi / 3)  # radians; rotation that maps each class to itself, 0 for any
IMAGES = 600
SIDE = 128  # pixels
MAX_SHAPES = 6  # per image
RADIUS = (0.07, 0.2)  # range of the circumscribed circle, relative to the side of the image
MIN_VISIBLE_FRACTION = 0.5  # of the area of a shape
MIN_CONTRAST = 0.35  # difference from the background in some channel, for colours in [0, 1]
TRIES = 20  # per shape


def looks_like(path: Path) -> bool:
    """Return False: the dataset is named and not read from a path."""
    return False


def open(name: str, task: Task | None = None) -> Dataset:
    """Generate the 600 images of 128 pixels, uint8 (600, 3, 128, 128), with boxes, or masks for "segment"."""
    images, annotations = _default_set()
    masks = task is not None and TASKS[task].masks
    if not masks:
        annotations = [Annotation(a.boxes, a.labels, a.ignore, a.size, None, a.poses) for a in annotations]
    return Dataset(
        path=name,
        format="drawn",
        task=object_task(masks),
        inputs=images,
        targets=annotations,
        classes=CLASSES,
    )


@lru_cache(maxsize=1)
def _default_set() -> tuple[torch.Tensor, list[Annotation]]:
    """The data set, drawn once per process: 3 s, and nothing changes its images in place."""
    return draw(IMAGES, SIDE, seed=0)


def draw(count: int, side: int = SIDE, seed: int = 0) -> tuple[torch.Tensor, list[Annotation]]:
    """Generate images, uint8 (count, 3, side, side), and their annotations, which only depend on the arguments."""
    rng = np.random.default_rng(seed)
    images = np.empty((count, 3, side, side), np.uint8)
    annotations = []
    for image in images:
        colour = rng.random(3)
        canvas = _background(rng, colour, side)
        annotations.append(_add_shapes(rng, canvas, colour, side))
        image[:] = (canvas + rng.normal(0, 0.02, canvas.shape)).clip(0, 1) * 255 + 0.5
    return torch.from_numpy(images), annotations


def _background(rng: np.random.Generator, colour: np.ndarray, side: int) -> np.ndarray:
    """Generate a coloured background with waves of several lengths and directions, (3, side, side)."""
    y, x = np.mgrid[:side, :side] / side
    texture = np.zeros((side, side))
    for _ in range(4):
        wave, angle, phase = rng.uniform(2, 20), rng.uniform(0, math.tau), rng.uniform(0, math.tau)
        texture += np.sin(wave * math.tau * (x * math.cos(angle) + y * math.sin(angle)) + phase)
    return colour[:, None, None] + rng.uniform(0.01, 0.03) * texture


def _add_shapes(rng: np.random.Generator, canvas: np.ndarray, background: np.ndarray, side: int) -> Annotation:
    """Draw one to six shapes on the canvas, in place; a shape that would hide too much of another is drawn again."""
    wanted = rng.integers(1, MAX_SHAPES + 1)
    masks: list[np.ndarray] = []  # visible pixels of each shape
    areas: list[int] = []  # of each shape without occlusion
    labels, poses = [], []
    for _ in range(wanted * TRIES):
        if len(masks) == wanted:
            break
        label, radius = int(rng.integers(len(CLASSES))), side * rng.uniform(*RADIUS)
        x, y = rng.uniform(0.6 * radius, side - 0.6 * radius, 2)
        angle = rng.uniform(0, SYMMETRY[label]) if SYMMETRY[label] else 0.0
        mask = _shape(label, x, y, radius, angle, side)
        rest = [other & ~mask for other in masks]
        if any(visible.sum() < MIN_VISIBLE_FRACTION * area for visible, area in zip(rest, areas)):
            continue
        masks, areas = [*rest, mask], [*areas, int(mask.sum())]
        labels.append(label)
        poses.append((x, y, angle))
        canvas[:, mask] = _colour(rng, background)[:, None] + rng.normal(0, 0.03, (3, int(mask.sum())))
    boxes, shapes = [], []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
        boxes.append((left, top, right, bottom))
        shapes.append(Raster(mask[top:bottom, left:right].astype(np.uint8), int(left), int(top)))
    return Annotation(
        torch.tensor(boxes, dtype=torch.float32),
        torch.tensor(labels),
        torch.zeros(len(labels), dtype=torch.bool),
        (side, side),
        tuple(shapes),
        torch.tensor(poses, dtype=torch.float32),
    )


def _shape(label: int, x: float, y: float, radius: float, angle: float, side: int) -> np.ndarray:
    """Rasterise a shape: bool (side, side), true where the pixel centre is inside all edges."""
    row, column = np.mgrid[:side, :side] + 0.5
    dx, dy = column - x, row - y
    if CLASSES[label] == "circle":
        return dx * dx + dy * dy <= radius * radius
    corners = 4 if CLASSES[label] == "square" else 3
    inside = np.ones((side, side), bool)
    for k in range(corners):
        normal = angle + math.tau * k / corners
        inside &= dx * math.cos(normal) + dy * math.sin(normal) <= radius * math.cos(math.pi / corners)
    return inside


def _colour(rng: np.random.Generator, background: np.ndarray) -> np.ndarray:
    """Draw a random colour with enough contrast to the background."""
    while True:
        colour = rng.random(3)
        if np.abs(colour - background).max() >= MIN_CONTRAST:
            return colour

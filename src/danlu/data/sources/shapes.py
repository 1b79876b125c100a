"""`shapes`: images of circles, squares and triangles with their boxes, masks and poses, drawn from a seed.

A set to try detectors on, of any length, without a download. Later shapes lie over earlier ones; a mask holds the
pixels that are seen, a box is the box of its mask.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from danlu.data.annotations import Annotation, Raster
from danlu.data.dataset import Dataset
from danlu.data.sources.sklearn import Known
from danlu.data.sources.targets import Task
from danlu.task_spec import TASKS, object_task

NAMES = {"shapes": Known("", "600 drawn images of circles, squares and triangles, with boxes, masks and poses")}
CLASSES = ("circle", "square", "triangle")
TURN = (0.0, math.pi / 2, 2 * math.pi / 3)  # the angle after which each class looks the same
IMAGES, SIDE, MOST = 600, 128, 6
RADIUS = (0.07, 0.2)  # of the circle around a shape, as a share of the image's side
SEEN = 0.5  # least share of a shape that others leave visible
CONTRAST = 0.35  # least distance of a colour from the background's, of 1
TRIES = 20


def looks_like(path: Path) -> bool:
    """No: `shapes` is a name, nothing on disk."""
    return False


def open(name: str, task: Task | None = None) -> Dataset:
    """600 images of 128 px, always the same, uint8 (600, 3, 128, 128); boxes only, or masks for "segment"."""
    images, annotations = draw(IMAGES, SIDE, seed=0)
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


def draw(count: int, side: int = SIDE, seed: int = 0) -> tuple[torch.Tensor, list[Annotation]]:
    """uint8 (count, 3, side, side), and what is in each image. Equal arguments give equal images."""
    rng = np.random.default_rng(seed)
    images = np.empty((count, 3, side, side), np.uint8)
    annotations = []
    for image in images:
        colour = rng.random(3)
        canvas = _background(rng, colour, side)
        annotations.append(_place(rng, canvas, colour, side))
        image[:] = (canvas + rng.normal(0, 0.02, canvas.shape)).clip(0, 1) * 255 + 0.5
    return torch.from_numpy(images), annotations


def _background(rng: np.random.Generator, colour: np.ndarray, side: int) -> np.ndarray:
    """(3, side, side): a colour with waves of several lengths and directions."""
    y, x = np.mgrid[:side, :side] / side
    texture = np.zeros((side, side))
    for _ in range(4):
        wave, angle, phase = rng.uniform(2, 20), rng.uniform(0, math.tau), rng.uniform(0, math.tau)
        texture += np.sin(wave * math.tau * (x * math.cos(angle) + y * math.sin(angle)) + phase)
    return colour[:, None, None] + rng.uniform(0.01, 0.03) * texture


def _place(rng: np.random.Generator, canvas: np.ndarray, background: np.ndarray, side: int) -> Annotation:
    """Draws one to six shapes on the canvas, in place; one that would hide another, or itself, too much is redrawn."""
    wanted = rng.integers(1, MOST + 1)
    masks: list[np.ndarray] = []  # what is seen of each shape
    areas: list[int] = []  # of each shape, whole
    labels, poses = [], []
    for _ in range(wanted * TRIES):
        if len(masks) == wanted:
            break
        label, radius = int(rng.integers(len(CLASSES))), side * rng.uniform(*RADIUS)
        x, y = rng.uniform(0.6 * radius, side - 0.6 * radius, 2)
        angle = rng.uniform(0, TURN[label]) if TURN[label] else 0.0
        mask = _shape(label, x, y, radius, angle, side)
        rest = [other & ~mask for other in masks]
        if any(part.sum() < SEEN * area for part, area in zip(rest, areas)):
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
    """bool (side, side): the pixels whose centre is inside. A regular polygon is where every edge is behind."""
    row, column = np.mgrid[:side, :side] + 0.5
    dx, dy = column - x, row - y
    if CLASSES[label] == "circle":
        return dx * dx + dy * dy <= radius * radius
    corners = 4 if CLASSES[label] == "square" else 3
    inside = np.ones((side, side), bool)
    for k in range(corners):
        towards = angle + math.tau * k / corners
        inside &= dx * math.cos(towards) + dy * math.sin(towards) <= radius * math.cos(math.pi / corners)
    return inside


def _colour(rng: np.random.Generator, background: np.ndarray) -> np.ndarray:
    """A colour that stands out from the background."""
    while True:
        colour = rng.random(3)
        if np.abs(colour - background).max() >= CONTRAST:
            return colour

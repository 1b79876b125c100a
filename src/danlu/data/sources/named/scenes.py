"""`scenes`: rendered images of solids with exact poses, masks and depth, generated from a seed.

It serves to train pose estimation without a download. An L-shaped prism without symmetry, a cube with 24 symmetries
and a cylinder with a continuous one lie before a background; nearer ones hide others.
"""

from __future__ import annotations

import hashlib
import math
import os
import pickle
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.data.annotations import Annotation, Raster
from danlu.data.data_root import DEFAULT_ROOT
from danlu.data.dataset import Dataset
from danlu.data.sources.tables.targets import Task
from danlu.pose import render as render_room
from danlu.pose import solids as solids_room
from danlu.pose.object_model import ObjectModel
from danlu.pose.render import Light, render
from danlu.pose.rigid import RigidPoses
from danlu.pose.rotations import from_quaternions
from danlu.pose.solids import solids
from danlu.task_spec import TASKS

IMAGES = 1500
SIDE = 128  # pixels
FOCAL = 1.5  # focal length relative to the side of the image
PRESENT = 0.8  # probability that an object is in an image
DISTANCE = (3.2, 5.2)  # range of the depth of the objects, in diameters of the largest one
MARGIN = 0.12  # of the image, where no centre of an object is
MIN_VISIBLE_FRACTION = 0.5  # of the pixels of an object; with less the scene is arranged again
MIN_VISIBLE_PIXELS = 40
TRIES = 50  # arrangements of one image
NOISE = 0.02  # standard deviation of the pixels, in [0, 1]


def looks_like(path: Path) -> bool:
    """Return False: the dataset is named and not read from a path."""
    return False


def open(name: str, task: Task | None = None) -> Dataset:
    """Generate 1,500 images of 128 pixels, uint8 (1500, 3, 128, 128), with poses; or boxes or masks only."""
    images, annotations = cached(IMAGES, SIDE)
    spec = TASKS[task or "pose"]
    if not spec.poses:
        annotations = [
            Annotation(a.boxes, a.labels, a.ignore, a.size, a.shapes if spec.masks else None) for a in annotations
        ]
    models = solids()
    return Dataset(
        path=name,
        format="drawn",
        task=spec.name,
        inputs=images,
        targets=annotations,
        classes=tuple(model.name for model in models),
        models=models if spec.poses else (),
    )


def cached(count: int, side: int) -> tuple[Tensor, list[Annotation]]:
    """Return `draw(count, side)` without depth; drawn once and kept in danlu's cache folder, if that can be written."""
    sources = [Path(module.__file__ or "").read_bytes() for module in (sys.modules[__name__], render_room, solids_room)]
    key = hashlib.sha256(b"".join(sources)).hexdigest()[:12]
    file = Path(DEFAULT_ROOT).expanduser() / f"scenes-{count}-{side}-{key}.pt"
    try:
        kept = torch.load(file, weights_only=True)
        return kept["images"], _unpacked(kept)
    except (OSError, KeyError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError):
        pass
    images, annotations, _ = draw(count, side)
    with suppress(OSError, RuntimeError):
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}")
        torch.save({"images": images} | _packed(annotations), partial)
        partial.replace(file)
    return images, annotations


def _packed(annotations: Sequence[Annotation]) -> dict[str, Any]:
    """Annotations as tensors: numbers of objects, their fields one after the other, and a map of objects per image."""
    maps = torch.zeros(len(annotations), *annotations[0].size, dtype=torch.uint8)
    for one, item in zip(annotations, maps):
        for k, shape in enumerate(one.shapes or (), 1):
            assert isinstance(shape, Raster)
            (h, w), left, top = shape.pixels.shape, shape.left, shape.top
            item[top : top + h, left : left + w] += torch.from_numpy(shape.pixels) * k
    rigid = [one.rigid for one in annotations if one.rigid is not None]
    fields = {
        name: torch.cat([getattr(one, name) for one in rigid]) for name in ("rotations", "translations", "visible")
    }
    labels = torch.cat([one.labels for one in annotations])
    counts = torch.tensor([len(one) for one in annotations])
    return fields | {"labels": labels, "counts": counts, "maps": maps, "camera": rigid[0].camera}


def _unpacked(kept: dict[str, Any]) -> list[Annotation]:
    counts = kept["counts"].tolist()
    names = ("labels", "rotations", "translations", "visible")
    found = []
    for item, labels, rotations, translations, visible in zip(
        kept["maps"], *(kept[name].split(counts) for name in names)
    ):
        boxes, shapes = _outlines([(item == k).numpy() for k in range(1, len(labels) + 1)])
        poses = RigidPoses(rotations, translations, kept["camera"], visible)
        ignore = torch.zeros(len(labels), dtype=torch.bool)
        found.append(Annotation(boxes, labels, ignore, tuple(item.shape), shapes, rigid=poses))
    return found


def camera_of(side: int) -> np.ndarray:
    """Return the intrinsics of the default camera for square images, in continuous pixels."""
    return np.array([[FOCAL * side, 0, side / 2], [0, FOCAL * side, side / 2], [0, 0, 1]])


def draw(
    count: int,
    side: int = SIDE,
    seed: int = 0,
    models: Sequence[ObjectModel] = (),
    camera: np.ndarray | None = None,
    size: tuple[int, int] | None = None,
) -> tuple[Tensor, list[Annotation], np.ndarray]:
    """Generate images, uint8 (count, 3, H, W), their annotations, and depth in metres, float32 (count, H, W).

    They only depend on the arguments. models: objects, by default the three solids. camera: intrinsics; by default of
    `camera_of`. size: (height, width), by default side x side.
    """
    models = models or solids()
    size = size or (side, side)
    camera = camera_of(side) if camera is None else camera
    images = np.empty((count, 3, *size), np.uint8)
    depths = np.empty((count, *size), np.float32)
    annotations = []
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        scene = _arrange(rng, models, camera, size)
        images[i] = _paint(rng, scene, size)
        depths[i] = scene.depth
        annotations.append(scene.annotation)
    return torch.from_numpy(images), annotations, depths


@dataclass
class Scene:
    """One arrangement. colours: (3, H, W) in [0, 1]. covered: bool (H, W), pixels of objects. depth: (H, W)."""

    annotation: Annotation
    colours: np.ndarray
    covered: np.ndarray
    depth: np.ndarray


def _arrange(
    rng: np.random.Generator, models: Sequence[ObjectModel], camera: np.ndarray, size: tuple[int, int]
) -> Scene:
    """Draw objects and poses until every object is visible enough; after `TRIES` with fewer objects."""
    attempt = 0
    while True:
        present = np.flatnonzero(rng.random(len(models)) < PRESENT)
        present = present[: max(1, len(models) - attempt // TRIES)]
        if not len(present):
            present = rng.integers(len(models), size=1)
        rotations = from_quaternions(torch.from_numpy(rng.normal(size=(len(present), 4)))).numpy()
        centres = _centres(rng, len(present), max(model.extent for model in models), camera, size)
        towards = rng.normal(size=3)
        towards[2] = -abs(towards[2])  # from the side of the camera
        x, y, z = towards / np.linalg.norm(towards)
        light = Light((float(x), float(y), float(z)), float(rng.uniform(0.3, 0.6)))
        chosen = [models[k] for k in present]
        meshes = [model.mesh for model in chosen]
        drawn = render(meshes, rotations, centres, camera, size, light)
        areas = np.bincount(drawn.item[drawn.item >= 0], minlength=len(present))
        visible = areas / np.maximum(drawn.unhidden, 1)
        attempt += 1
        seen_well = (areas >= MIN_VISIBLE_PIXELS).all() and (visible >= MIN_VISIBLE_FRACTION).all()
        if seen_well or attempt == TRIES * len(models):
            break
    masks = [drawn.item == i for i in range(len(present)) if areas[i]]
    seen = np.flatnonzero(areas)
    boxes, shapes = _outlines(masks)
    poses = RigidPoses(
        torch.from_numpy(rotations[seen]).float(),
        torch.from_numpy(centres[seen]).float(),
        torch.from_numpy(camera).float(),
        torch.from_numpy(visible[seen]).float(),
    )
    labels = torch.from_numpy(present[seen])
    annotation = Annotation(boxes, labels, torch.zeros(len(labels), dtype=torch.bool), size, shapes, rigid=poses)
    return Scene(annotation, drawn.colours, drawn.item >= 0, drawn.depth)


def _centres(
    rng: np.random.Generator, count: int, extent: float, camera: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Draw the positions of objects (count, 3) whose centres are seen in the image."""
    height, width = size
    depth = extent * rng.uniform(*DISTANCE, count) * (camera[0, 0] / max(size)) / FOCAL
    u, v = (rng.uniform(MARGIN * side, (1 - MARGIN) * side, count) for side in (width, height))
    return depth[:, None] * (np.linalg.inv(camera) @ np.stack((u, v, np.ones(count)))).T


def _outlines(masks: Sequence[np.ndarray]) -> tuple[Tensor, tuple[Raster, ...]]:
    """Bounding boxes (M, 4) and rasters of visible pixels, bool (H, W) each, none of them empty."""
    boxes, shapes = [], []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
        boxes.append((left, top, right, bottom))
        shapes.append(Raster(mask[top:bottom, left:right].astype(np.uint8), int(left), int(top)))
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), tuple(shapes)


def _paint(rng: np.random.Generator, scene: Scene, size: tuple[int, int]) -> np.ndarray:
    """Put the objects before a coloured background with waves of several lengths; add noise, uint8 (3, H, W)."""
    y, x = np.mgrid[: size[0], : size[1]] / max(size)
    texture = np.zeros(size)
    for _ in range(3):
        wave, angle, phase = rng.uniform(1, 16), rng.uniform(0, math.tau), rng.uniform(0, math.tau)
        texture += np.sin(wave * math.tau * (x * math.cos(angle) + y * math.sin(angle)) + phase)
    canvas = rng.random(3)[:, None, None] + rng.uniform(0.01, 0.05) * texture
    canvas = np.where(scene.covered, scene.colours * rng.uniform(0.85, 1.15), canvas)
    return ((canvas + rng.normal(0, NOISE, canvas.shape)).clip(0, 1) * 255 + 0.5).astype(np.uint8)

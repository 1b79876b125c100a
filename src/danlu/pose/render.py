"""Render meshes by a z-buffer on the CPU: depth, face numbers and shaded colours, without OpenGL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from danlu.pose.meshes import GREY, Mesh

NEAR_PLANE_METRES = 1e-3  # triangles with a corner nearer to the camera's plane are not drawn
MAX_TESTS = 1 << 21  # pairs of triangle and pixel tested in one operation
LEVELS = 64  # more than any level: powers of two of the sides of triangles
MAX_BATCHED_SIDE = 16  # pixels; larger triangles are drawn one by one, each in its own box


@dataclass
class Rendered:
    """One rendered image. depth: metres along the optical axis, 0 for no surface, float32 (H, W). item: number of the
    object, -1 for none, int64 (H, W). colours: float32 (3, H, W) in [0, 1], 0 where no surface is. unhidden: number of
    pixels of each object if no other were there.
    """

    depth: np.ndarray
    item: np.ndarray
    colours: np.ndarray
    unhidden: list[int]


@dataclass(frozen=True)
class Light:
    """A directional light. towards: unit vector from the surfaces to the light, in the camera frame. ambient: fraction
    of the light that comes from everywhere.
    """

    towards: tuple[float, float, float] = (0.0, -0.6, -0.8)
    ambient: float = 0.45


@dataclass
class Buffer:
    """Nearest surface at each pixel: inverse depth, face number and the weights of its corners, flat over H * W."""

    inverse: np.ndarray
    face: np.ndarray
    weights: np.ndarray


def rasterise(
    points: np.ndarray, faces: np.ndarray, camera: np.ndarray, size: tuple[int, int], closed: bool = False
) -> Buffer:
    """Find the nearest triangle at each pixel centre.

    points: in the camera frame, (V, 3). faces: (F, 3). camera: intrinsics (3, 3). size: (height, width). closed: the
    faces are counter-clockwise seen from outside and enclose a volume, so that those turned away are not tested.
    """
    height, width = size
    best = Buffer(np.zeros(height * width), np.full(height * width, -1), np.zeros((height * width, 3)))
    z = points[:, 2]
    pixels = (points @ camera.T)[:, :2] / np.maximum(z, NEAR_PLANE_METRES)[:, None]
    before = z > NEAR_PLANE_METRES
    numbers = np.arange(len(faces)) if before.all() else np.flatnonzero(before[faces].all(1))
    corners = pixels[faces[numbers]]  # (F, 3, 2)
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]  # numpy is slow along short axes
    # A pixel centre is at i + 0.5: the first and last one within the box of the triangle.
    limit = np.array([width, height])
    first = np.ceil(np.clip(np.minimum(np.minimum(a, b), c) - 0.5, 0, limit)).astype(np.int64)
    last = np.floor(np.clip(np.maximum(np.maximum(a, b), c) - 0.5, -1, limit - 1)).astype(np.int64)
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    extents = last - first + 1
    drawn = (extents[:, 0] > 0) & (extents[:, 1] > 0) & (area < -1e-12 if closed else np.abs(area) > 1e-12)
    level = np.ceil(np.log2(np.maximum(extents, 1))).astype(np.int64)  # of width and height, (F, 2)
    large = drawn & (np.maximum(extents[:, 0], extents[:, 1]) > MAX_BATCHED_SIDE)
    depths = z[faces[numbers]]
    for i in np.flatnonzero(large):
        _draw(best, np.array([i]), numbers, corners, area, first, depths, tuple(extents[i]), size)
    small = np.flatnonzero(drawn & ~large)
    kind = level[small] @ (LEVELS, 1)
    for number in np.unique(kind):
        chosen, k = small[kind == number], np.array(divmod(number, LEVELS))
        for part in np.array_split(chosen, -(-len(chosen) * 2 ** int(k.sum()) // MAX_TESTS)):
            _draw(best, part, numbers, corners, area, first, depths, tuple(2**k), size)
    return best


def _draw(
    best: Buffer,
    part: np.ndarray,
    numbers: np.ndarray,
    corners: np.ndarray,
    area: np.ndarray,
    first: np.ndarray,
    depths: np.ndarray,
    window: tuple[int, int],
    size: tuple[int, int],
) -> None:
    """Draw triangles whose boxes have at most the width and height of `window` into the buffer."""
    column = first[part, :1] + np.arange(window[0])  # (f, width)
    row = first[part, 1:] + np.arange(window[1])
    x, y = (column + 0.5)[:, None, :], (row + 0.5)[:, :, None]
    weights = []
    for i, j in ((1, 2), (2, 0)):
        p, q = corners[part, i], corners[part, j]
        dx, dy = (q - p).T[:, :, None, None]
        weights.append((dx * (y - p[:, 1, None, None]) - dy * (x - p[:, 0, None, None])) / area[part, None, None])
    weights.append(1 - weights[0] - weights[1])
    inside = (weights[0] >= 0) & (weights[1] >= 0) & (weights[2] >= 0)
    inside &= (column < size[1])[:, None, :] & (row < size[0])[:, :, None]
    which, r, c = np.nonzero(inside)
    if not len(which):
        return
    w = np.stack([weight[inside] for weight in weights], 1) / depths[part][which]
    inverse = w.sum(1)
    pixel = row[which, r] * size[1] + column[which, c]
    order = np.argsort(inverse, kind="stable")  # nearest last: of repeated pixels the last assignment remains
    pixel, inverse, which, w = pixel[order], inverse[order], which[order], w[order]
    nearer = inverse > best.inverse[pixel]
    pixel = pixel[nearer]
    best.inverse[pixel] = inverse[nearer]
    best.face[pixel] = numbers[part][which[nearer]]
    best.weights[pixel] = (w / inverse[:, None])[nearer]


def render(
    meshes: Sequence[Mesh],
    rotations: np.ndarray,
    translations: np.ndarray,
    camera: np.ndarray,
    size: tuple[int, int],
    light: Light | None = None,
) -> Rendered:
    """Render objects that hide each other.

    meshes: one per object, in metres. rotations (M, 3, 3), translations (M, 3): their poses. camera: intrinsics in
    continuous pixels. size: (height, width).
    """
    light = light or Light()
    depth, item = np.zeros(size, np.float32), np.full(size, -1)
    colours = np.zeros((3, *size), np.float32)
    unhidden: list[int] = []
    for i, mesh in enumerate(meshes):
        points = mesh.points @ rotations[i].T + translations[i]
        seen = rasterise(points, mesh.faces, camera, size, mesh.closed)
        own = np.divide(1, seen.inverse, out=np.zeros_like(seen.inverse), where=seen.inverse > 0).reshape(size)
        unhidden.append(int(np.count_nonzero(own)))
        front = (own > 0) & ((depth == 0) | (own < depth))
        depth[front], item[front] = own[front], i
        flat = front.ravel()
        colours[:, front] = _shaded(mesh, points, seen.face[flat], seen.weights[flat], light).T
    return Rendered(depth, item, colours, unhidden)


def _shaded(mesh: Mesh, points: np.ndarray, face: np.ndarray, weights: np.ndarray, light: Light) -> np.ndarray:
    """Colours (n, 3) of surface points: Lambert's law with flat faces; both sides of a face are lit."""
    corners = points[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    facing = np.where((normals * corners[:, 0]).sum(1, keepdims=True) > 0, -normals, normals)
    lit = light.ambient + (1 - light.ambient) * np.maximum(facing @ np.array(light.towards), 0)
    if mesh.colours is None:
        base = np.full((len(face), 3), GREY)
    else:
        base = (mesh.colours[mesh.faces[face]] * weights[..., None]).sum(1)
    return (base * lit[face, None]).clip(0, 1).astype(np.float32)

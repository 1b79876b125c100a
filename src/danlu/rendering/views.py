"""One object drawn by itself: depth and colours in a window of the image, with smooth shading."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from danlu.pose.meshes import Mesh
from danlu.pose.render import NEAR_PLANE_METRES, rasterise

FINE = 2  # pixels drawn along each side of a pixel of the image, whose mean gives smooth outlines


@dataclass(frozen=True)
class Shape:
    """A mesh in metres with a smooth normal at each point. extent: its diameter, or about that, in metres."""

    mesh: Mesh
    extent: float

    @cached_property
    def normals(self) -> np.ndarray:
        """Unit normals of the points, float64 (V, 3): the mean over their faces by area. Their sign is not known."""
        points, faces = self.mesh.points, self.mesh.faces
        a, b, c = (points[faces[:, k]] for k in range(3))
        of_faces = np.cross(b - a, c - a)
        sums = [np.bincount(faces.ravel(), np.repeat(of_faces[:, k], 3), len(points)) for k in range(3)]
        normals = np.stack(sums, 1)
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


@dataclass(frozen=True)
class SceneLight:
    """A directional light in the camera frame, and light from everywhere.

    towards: unit vector to the light. colour: (3,), of the directional part. ambient: (3,). gloss: strength of the
    highlight. sharpness: exponent of the highlight.
    """

    towards: np.ndarray
    colour: np.ndarray
    ambient: np.ndarray
    gloss: float
    sharpness: float


@dataclass(frozen=True)
class DrawnObject:
    """An object in a window of the image, in fine pixels.

    corner: first row and column of the window; the window may reach out of the image. depth: metres, 0 for no surface,
    float32 (h, w). colours: float32 (h, w, 3), 0 where no surface is. bounds: x1, y1, x2, y2 of the projected points in
    pixels of the image.
    """

    corner: tuple[int, int]
    depth: np.ndarray
    colours: np.ndarray
    bounds: np.ndarray

    @property
    def area(self) -> float:
        """Pixels of the image that it would cover if nothing hid it, also those outside."""
        return np.count_nonzero(self.depth) / FINE**2


def draw_view(
    shape: Shape,
    colours: np.ndarray,
    rotation: np.ndarray,
    translation: np.ndarray,
    camera: np.ndarray,
    size: tuple[int, int],
    light: SceneLight,
) -> DrawnObject | None:
    """Draw one object; None if it reaches behind the camera.

    colours: of its points, (V, 3). camera: intrinsics in continuous pixels. size: (height, width) of the image.
    """
    points = shape.mesh.points @ rotation.T + translation
    if points[:, 2].min() <= NEAR_PLANE_METRES:
        return None
    pixels = points @ camera.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    low, high = pixels.min(0), pixels.max(0)
    # Enough of the outside to count hidden pixels, as BOP does, without a huge window for an object near the camera.
    limit = np.array([size[1], size[0]])
    left, top = (FINE * np.maximum(np.floor(low), -limit)).astype(int)
    right, bottom = (FINE * np.minimum(np.ceil(high), 2 * limit)).astype(int)
    window = max(bottom - top, 1), max(right - left, 1)
    fine = np.diag([FINE, FINE, 1.0]) @ camera
    fine[:2, 2] -= left, top
    seen = rasterise(points, shape.mesh.faces, fine, window, shape.mesh.closed)
    covered = seen.face >= 0
    depth = np.zeros(len(covered), np.float32)
    depth[covered] = 1 / seen.inverse[covered]
    canvas = np.zeros((len(covered), 3), np.float32)
    corners, weights = shape.mesh.faces[seen.face[covered]], seen.weights[covered][..., None]
    normals = ((shape.normals @ rotation.T)[corners] * weights).sum(1)
    places = (points[corners] * weights).sum(1)
    canvas[covered] = _lit((colours[corners] * weights).sum(1), normals, places, light)
    return DrawnObject((top, left), depth.reshape(window), canvas.reshape(*window, 3), np.concatenate((low, high)))


def _lit(base: np.ndarray, normals: np.ndarray, places: np.ndarray, light: SceneLight) -> np.ndarray:
    """Colours (n, 3) by the model of Blinn and Phong; normals are turned towards the camera."""
    normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    to_camera = -places / np.linalg.norm(places, axis=1, keepdims=True)
    normals = np.where((normals * to_camera).sum(1, keepdims=True) < 0, -normals, normals)
    half = to_camera + light.towards
    half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-12)
    diffuse = np.maximum(normals @ light.towards, 0)[:, None]
    highlight = np.maximum((normals * half).sum(1), 0)[:, None] ** light.sharpness * light.gloss
    return base * (light.ambient + light.colour * diffuse) + light.colour * highlight

"""Checks of given poses: kinds of wrong matrices, symmetries against the mesh, and why poses do not fit their boxes.

Boxes of whole objects test every part of a pose at once. Where most disagree, a few hypotheses are tried: quaternions
read in the other order, poses of the camera instead of the object, another unit, other intrinsics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np
import torch
from torch import Tensor

from danlu.message import Message, message
from danlu.pose.object_model import ObjectModel
from danlu.pose.rotations import from_quaternions, to_quaternions
from danlu.pose.shape_symmetry import ShapeSymmetry, shape_symmetry
from danlu.pose.symmetry import residual, thinned

SURFACE_POINTS, TRIED_SYMMETRIES = 1500, 24  # of a mesh, in the test of declared symmetries
MAX_SYMMETRY_ERROR = 0.05  # mean distance of the mesh from itself after a symmetry, in diameters
MAX_TRIED = 200  # boxes, evenly chosen, that hypotheses are tried on
MIN_DEVIATION = 0.05  # of a side from the box, in longer sides of it; less needs no explanation
MAX_DEVIATION = 0.1  # of a side from the box, in longer sides of the box, where a hypothesis explains the boxes
MIN_GAIN = 0.4  # of the deviation as given, that it must fall below
UNITS = (10.0, 100.0, 1000.0, 0.1, 0.01, 0.001)  # factors between millimetres, centimetres and metres
SAME_NUMBER = 0.02  # of entries of a matrix that follow a form exactly
MAX_EXAMPLES = 3


@dataclass(frozen=True)
class PosedBox:
    """An object to compare with its box. points: of its model (P, 3), rotation (3, 3), translation (3,), all in metres.

    camera: intrinsics (3, 3). box: x1, y1, x2, y2 in pixels (4,).
    """

    points: Tensor
    rotation: Tensor
    translation: Tensor
    camera: np.ndarray
    box: np.ndarray

    @property
    def side(self) -> float:
        """Longer side of the box in pixels."""
        return max(float((self.box[2:] - self.box[:2]).max()), 1.0)


@dataclass(frozen=True)
class Explanation:
    """A change of the poses or the camera after which they fit the boxes.

    kind: "xyzw" (quaternions were in this order, and read as w, x, y, z), "wxyz", "inverse" (rotation and translation
    map the camera to the object), "unit" (translations too small by `factor` compared with the meshes), "camera".
    before, after: median deviation in longer sides of the box. camera: fx, fy, cx, cy that fit.
    """

    kind: str
    before: float
    after: float
    factor: float = 1.0
    camera: tuple[float, ...] = ()


@dataclass
class PoseAudit:
    """Results of the checks.

    poses: number in the files. matrices: kind of wrong matrix -> places. compared: poses with a box of the whole
    object; apart: those of them that do not project onto it, with `examples`. explanation: of these. mesh_unit,
    translation_unit: metres per unit; units_differ: against the format. wrong: name and misfit in diameters of models
    with a declared symmetry that the mesh does not have. undeclared: name of models and the symmetry of their shape
    that is not declared.
    """

    poses: int = 0
    matrices: dict[str, list[str]] = field(default_factory=dict)
    compared: int = 0
    apart: int = 0
    explanation: Explanation | None = None
    examples: list[str] = field(default_factory=list)
    mesh_unit: float = 1.0
    translation_unit: float = 1.0
    units_differ: bool = False
    wrong: list[tuple[str, float]] = field(default_factory=list)
    undeclared: list[tuple[str, str]] = field(default_factory=list)

    @property
    def faulty(self) -> bool:
        """True if poses are wrong, so that a training is refused or leaves some out."""
        return bool(self.matrices) or self.units_differ or self.apart > 0

    def wrong_matrix(self, kind: str, where: str) -> None:
        """Count a matrix that is no rotation."""
        self.matrices.setdefault(kind, []).append(where)

    def advice(self) -> Message:
        """Return where to look, as part of a sentence."""
        found = self.explanation
        if found is None:
            return message("data.pose.check", "check cam_K, the size of the images and the units")
        if found.kind in ("xyzw", "wxyz"):
            return message(
                "data.pose.order",
                "they do where the quaternions behind the rotations are taken in the order {order}",
                order=", ".join(found.kind),
            )
        if found.kind == "inverse":
            return message("data.pose.inverse", "they do where each pose is inverted: it maps the camera to the object")
        if found.kind == "unit":
            return message(
                "data.pose.unit",
                "they do where the translations are multiplied by {factor:g}: check the units",
                factor=found.factor,
            )
        fx, fy, cx, cy = found.camera
        return message(
            "data.pose.camera",
            "they do with fx {fx:.4g}, fy {fy:.4g}, cx {cx:.4g}, cy {cy:.4g}: check cam_K and the size of the images",
            fx=fx,
            fy=fy,
            cx=cx,
            cy=cy,
        )


def kind_of_matrix(matrix: Tensor) -> str:
    """Name what a matrix (3, 3) that is no rotation may be: "unnormalised", "mirrored", or "other".

    A quaternion of length s gives s^2 U by the homogeneous formula, and I + s^2 (U - I) by the usual one, where U is
    the rotation it stands for.
    """
    if not bool(matrix.isfinite().all()):
        return "other"
    eye = torch.eye(3, dtype=matrix.dtype)
    scale = float((matrix @ matrix.T).trace() / 3) ** 0.5
    if scale < 1e-6:
        return "other"
    turned = matrix / scale
    if float((turned @ turned.T - eye).abs().max()) < SAME_NUMBER:
        return "mirrored" if float(torch.linalg.det(turned)) < 0 else "unnormalised"
    change = matrix - eye
    both = float((change + change.T).trace())
    square = -float((change @ change.T).trace()) / both if both else 0.0
    if square > 1e-6:
        usual = eye + change / square
        if float((usual @ usual.T - eye).abs().max()) < SAME_NUMBER:
            return "unnormalised"
    return "other"


def check_symmetries(model: ObjectModel, audit: PoseAudit) -> str:
    """Compare a mesh with itself after each declared symmetry; return why one is wrong, or nothing.

    Of a model without declared symmetry, a shape that has one is recorded in the audit.
    """
    if not model.symmetric:
        found = shape_symmetry(model.mesh)
        if len(found.group) > 1:
            audit.undeclared.append((model.name, described(found)))
        return ""
    tried = thinned(model.symmetries[1:], TRIED_SYMMETRIES)
    worst = float(residual(model.mesh.surface(SURFACE_POINTS), tried).max()) / model.extent
    if worst <= MAX_SYMMETRY_ERROR:
        return ""
    audit.wrong.append((model.name, worst))
    return f"a declared symmetry moves its surface by {worst:.0%} of the diameter: it is no symmetry of the mesh"


def described(found: ShapeSymmetry) -> str:
    """Name the generators of a symmetry: "z: any angle; x: 180 degrees"."""
    parts = []
    for axis, order in found.axes:
        name = next((n for n, v in zip("xyz", axis) if abs(v) > 1 - 1e-9), ", ".join(f"{v:.2f}" for v in axis))
        parts.append(f"{name}: {f'{360 // order} degrees' if order else 'any angle'}")
    return "; ".join(parts)


def explain(boxes: Sequence[PosedBox]) -> Explanation | None:
    """Find the change after which most poses fit their boxes; None if none of those tried does.

    Another camera is tried last: with four free numbers it would fit some of the other causes too.
    """
    boxes = boxes[:: -(-len(boxes) // MAX_TRIED)]
    before = _deviation(boxes)
    if before <= MIN_DEVIATION:
        return None
    tried: list[Explanation] = []
    for kind, shift in (("xyzw", 1), ("wxyz", -1)):
        turns = [from_quaternions(to_quaternions(one.rotation).roll(shift)) for one in boxes]
        changed = [replace(one, rotation=turn) for one, turn in zip(boxes, turns)]
        tried.append(Explanation(kind, before, _deviation(changed)))
    changed = [replace(one, rotation=one.rotation.T, translation=-one.rotation.T @ one.translation) for one in boxes]
    tried.append(Explanation("inverse", before, _deviation(changed)))
    for factor in UNITS:
        changed = [replace(one, translation=one.translation * factor) for one in boxes]
        tried.append(Explanation("unit", before, _deviation(changed), factor))
    for best in (min(tried, key=lambda one: one.after), _fitted_camera(boxes, before)):
        if best.after < MAX_DEVIATION and best.after < MIN_GAIN * before:
            return best
    return None


def _fitted_camera(boxes: Sequence[PosedBox], before: float) -> Explanation:
    """Intrinsics that fit boxes and poses best, by medians over the boxes."""
    plain = np.stack([_bounds(replace(one, camera=np.eye(3))) for one in boxes])
    given = np.stack([one.box for one in boxes])
    seen = np.isfinite(plain).all(1)
    if not seen.any():
        return Explanation("camera", before, np.inf)
    plain, given = plain[seen], given[seen]
    focal = np.median((given[:, 2:] - given[:, :2]) / np.maximum(plain[:, 2:] - plain[:, :2], 1e-9), axis=0)
    centre = np.median((given - np.tile(focal, 2) * plain).reshape(-1, 2), axis=0)
    camera = np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]])
    after = _deviation([replace(one, camera=camera) for one in boxes])
    return Explanation("camera", before, after, camera=(*focal.tolist(), *centre.tolist()))


def _bounds(one: PosedBox) -> np.ndarray:
    """Bounds of the projected points, x1, y1, x2, y2 (4,); NaN if some are behind the camera."""
    seen = (one.points @ one.rotation.T + one.translation).numpy()
    if not (seen[:, 2] > 0).all():
        return np.full(4, np.nan)
    pixels = seen @ one.camera.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    return np.concatenate((pixels.min(0), pixels.max(0)))


def _deviation(boxes: Sequence[PosedBox]) -> float:
    """Median of the largest deviation of a side of the projected bounds from the box, in longer sides of the box."""
    found = [float(np.abs(_bounds(one) - one.box).max()) / one.side for one in boxes]
    return median(value if np.isfinite(value) else np.inf for value in found)

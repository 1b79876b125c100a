"""Poses of the objects of one image, and its camera."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class RigidPoses:
    """Poses of M objects: a point x of the model is at R x + t in the camera frame.

    rotations: float32 (M, 3, 3). translations: metres, float32 (M, 3). camera: intrinsics in continuous pixels of the
    original image, float32 (3, 3). visible: fraction of each object's pixels that nothing hides, float32 (M,).
    """

    rotations: Tensor
    translations: Tensor
    camera: Tensor
    visible: Tensor

    def __len__(self) -> int:
        return len(self.translations)

"""Ground-truth objects of one image and of a batch, and detections.

Boxes are (x1, y1, x2, y2) in continuous pixel coordinates: an image spans [0, W] x [0, H]. Classes are 0 ... K - 1; the
background has no class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

PADDING = -1  # class label of padded objects in a batch
IGNORE = 255  # class of a pixel without a class, as in Pascal VOC and Cityscapes


@dataclass
class Objects:
    """M ground-truth objects of one image.

    Args:
        boxes: float32 (M, 4).
        labels: int64 (M,).
        ignore: bool (M,), regions that are neither object nor background (COCO crowds, VOC difficult).
        masks: uint8 (M, H, W) of 0 and 1, or None.
    """

    boxes: Tensor
    labels: Tensor
    ignore: Tensor
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def none(cls, masks: tuple[int, int] | None = None) -> Objects:
        """Return the objects of an empty image. masks: (H, W) of the image if objects have masks."""
        empty = torch.zeros(0, dtype=torch.uint8).reshape(0, *masks) if masks else None
        return cls(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.bool), empty)


@dataclass
class ObjectBatch:
    """Ground-truth objects of N images, padded to M objects each.

    Args:
        boxes: float32 (N, M, 4), zero for padding.
        labels: int64 (N, M), `PADDING` for padding.
        ignore: bool (N, M).
        masks: uint8 (N, M, H, W) or None.
        regions: float32 (N, P, 4) or None: candidate boxes for detectors that search them in the pixels
            (`Detector.search`), padded with zeros.
        poses: float32 (N, M, 3, 4) or None: [R | t] of each object in the camera frame, t in metres; zero for padding.
        cameras: float32 (N, 3, 3) or None: intrinsics of the images in their pixels.
    """

    boxes: Tensor
    labels: Tensor
    ignore: Tensor
    masks: Tensor | None = None
    regions: Tensor | None = None
    poses: Tensor | None = None
    cameras: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def valid(self) -> Tensor:
        """bool (N, M): objects that are neither padding nor ignored."""
        return (self.labels != PADDING) & ~self.ignore

    def to(self, device: torch.device | str) -> ObjectBatch:
        """Return the batch on `device`."""
        return self._each(lambda x: x.to(device))

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self.labels.device

    def index_select(self, dim: int, index: Tensor) -> ObjectBatch:
        """Return the objects of the images `index`, int64 (n,). dim must be 0."""
        return self._each(lambda x: x.index_select(dim, index))

    def split(self, size: int) -> list[ObjectBatch]:
        """Split into batches of `size` images; the last may be smaller."""
        indices = torch.arange(len(self), device=self.device)
        return [self.index_select(0, chunk) for chunk in indices.split(size)]

    def image(self, index: int) -> Objects:
        """Return the objects of one image, without padding."""
        kept = self.labels[index] != PADDING
        masks = self.masks[index][kept] if self.masks is not None else None
        return Objects(self.boxes[index][kept], self.labels[index][kept], self.ignore[index][kept], masks)

    def _each(self, change: Callable[[Tensor], Tensor]) -> ObjectBatch:
        optional = (self.masks, self.regions, self.poses, self.cameras)
        others = (None if x is None else change(x) for x in optional)
        return ObjectBatch(change(self.boxes), change(self.labels), change(self.ignore), *others)


def collate(images: Sequence[Objects]) -> ObjectBatch:
    """Pad the objects of N images to the largest number of objects of any image, at least one."""
    count = max([1, *map(len, images)])
    batch = ObjectBatch(
        torch.zeros(len(images), count, 4),
        torch.full((len(images), count), PADDING),
        torch.zeros(len(images), count, dtype=torch.bool),
    )
    with_masks = [p.masks for p in images if p.masks is not None]
    if with_masks:
        batch.masks = torch.zeros(len(images), count, *with_masks[0].shape[1:], dtype=torch.uint8)
    for i, one in enumerate(images):
        n = len(one)
        batch.boxes[i, :n], batch.labels[i, :n], batch.ignore[i, :n] = one.boxes, one.labels, one.ignore
        if batch.masks is not None and one.masks is not None:
            batch.masks[i, :n] = one.masks
    return batch


@dataclass
class Detections:
    """Detections in one image, in order of falling score.

    Args:
        boxes: float32 (D, 4).
        scores: float32 (D,) in [0, 1].
        labels: int64 (D,).
        masks: uint8 (D, H, W), or None.
        poses: float32 (D, 3, 4) or None: [R | t] in the camera frame, t in metres.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None = None
    poses: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Detections:
        """Return the detections on `device`."""
        masks, poses = (None if x is None else x.to(device) for x in (self.masks, self.poses))
        return Detections(self.boxes.to(device), self.scores.to(device), self.labels.to(device), masks, poses)

"""What is to be found in images, one image's and a batch's. Boxes are (x1, y1, x2, y2) in pixels, continuous: a
image spans [0, W] x [0, H]. Classes are 0..K-1; there is no class for the background."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

PADDING = -1


@dataclass
class Objects:
    """M objects of one image.

    boxes: float32 (M, 4). labels: int64 (M,). ignore: bool (M,), regions that are neither object nor background (COCO
    crowds, VOC's difficult). masks: uint8 (M, H, W) of 0 and 1, or None.
    """

    boxes: Tensor
    labels: Tensor
    ignore: Tensor
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def none(cls, masks: tuple[int, int] | None = None) -> Objects:
        """An image without objects; masks: its (H, W), where masks are kept."""
        empty = torch.zeros(0, dtype=torch.uint8).reshape(0, *masks) if masks else None
        return cls(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.bool), empty)


@dataclass
class ObjectBatch:
    """The objects of N images, each padded to M of them.

    boxes: float32 (N, M, 4), zeros where padded. labels: int64 (N, M), `PADDING` where padded. ignore: bool (N, M).
    masks: uint8 (N, M, H, W) or None. regions: float32 (N, P, 4) or None, boxes in which some object may be, for
    detectors that look for them in the pixels (`Detector.search`); zeros fill up.
    """

    boxes: Tensor
    labels: Tensor
    ignore: Tensor
    masks: Tensor | None = None
    regions: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def valid(self) -> Tensor:
        """bool (N, M): a real object, to be found."""
        return (self.labels != PADDING) & ~self.ignore

    def to(self, device: torch.device | str) -> ObjectBatch:
        return self._each(lambda x: x.to(device))

    @property
    def device(self) -> torch.device:
        return self.labels.device

    def index_select(self, dim: int, index: Tensor) -> ObjectBatch:
        """The objects of some of the images; dim is 0."""
        return self._each(lambda x: x.index_select(dim, index))

    def split(self, size: int) -> list[ObjectBatch]:
        """Batches of `size` images, the last one of what is left."""
        places = torch.arange(len(self), device=self.device)
        return [self.index_select(0, part) for part in places.split(size)]

    def image(self, index: int) -> Objects:
        """Objects of one image, without padding."""
        kept = self.labels[index] != PADDING
        masks = self.masks[index][kept] if self.masks is not None else None
        return Objects(self.boxes[index][kept], self.labels[index][kept], self.ignore[index][kept], masks)

    def _each(self, change: Callable[[Tensor], Tensor]) -> ObjectBatch:
        parts = (self.boxes, self.labels, self.ignore, self.masks, self.regions)
        return ObjectBatch(*(x if x is None else change(x) for x in parts))  # type: ignore[arg-type]


def collate(images: Sequence[Objects]) -> ObjectBatch:
    """Pad to the most objects of any image, at least one, so that no tensor is empty."""
    most = max([1, *map(len, images)])
    batch = ObjectBatch(
        torch.zeros(len(images), most, 4),
        torch.full((len(images), most), PADDING),
        torch.zeros(len(images), most, dtype=torch.bool),
    )
    with_masks = [p.masks for p in images if p.masks is not None]
    if with_masks:
        batch.masks = torch.zeros(len(images), most, *with_masks[0].shape[1:], dtype=torch.uint8)
    for i, one in enumerate(images):
        n = len(one)
        batch.boxes[i, :n], batch.labels[i, :n], batch.ignore[i, :n] = one.boxes, one.labels, one.ignore
        if batch.masks is not None and one.masks is not None:
            batch.masks[i, :n] = one.masks
    return batch


@dataclass
class Detections:
    """What was found in one image, the surest first.

    boxes: float32 (D, 4). scores: float32 (D,) in [0, 1]. labels: int64 (D,). masks: uint8 (D, H, W), or None.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Detections:
        masks = self.masks.to(device) if self.masks is not None else None
        return Detections(self.boxes.to(device), self.scores.to(device), self.labels.to(device), masks)

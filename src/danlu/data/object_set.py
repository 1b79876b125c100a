"""Objects of all samples, selected by sample number and mapped to the canvas of the images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from danlu.data.annotations import Annotation
from danlu.data.canvas import Placement
from danlu.objects import ObjectBatch, Objects, collate

MAX_KEPT_MASKS = 512 << 20  # bytes; masks of larger datasets are drawn for each batch


class ObjectSet:
    """Targets of detection and segmentation, with the interface of a target tensor: length, device, `index_select`.

    annotations, placements: of each of N samples. masks: whether to draw masks. Boxes are kept on the device; masks are
    drawn once and kept if all of them are smaller than `MAX_KEPT_MASKS`.
    """

    def __init__(self, annotations: Sequence[Annotation], placements: Sequence[Placement], masks: bool) -> None:
        self.annotations, self.placements, self.masks = annotations, placements, masks
        self.counts = [len(one) for one in annotations]
        self._boxes = collate([self._without_masks(i) for i in range(len(annotations))])
        self._drawn: dict[int, Tensor] = {}
        height, width = placements[0].size if placements else (0, 0)
        self._keep_masks = sum(self.counts) * height * width <= MAX_KEPT_MASKS

    def __len__(self) -> int:
        return len(self.annotations)

    @property
    def device(self) -> torch.device:
        return self._boxes.device

    def to(self, device: torch.device | str) -> ObjectSet:
        self._boxes = self._boxes.to(device)
        return self

    def index_select(self, dim: int, index: Tensor) -> ObjectBatch:
        """Select the objects of some samples, padded to the max number per sample. dim: 0. index: int64 (n,)."""
        chosen = index.tolist()
        slots = max([1, *(self.counts[i] for i in chosen)])
        batch = self._boxes.index_select(dim, index.to(self.device))
        batch = ObjectBatch(batch.boxes[:, :slots], batch.labels[:, :slots], batch.ignore[:, :slots])
        if self.masks:
            size = self.placements[0].size
            batch.masks = torch.zeros(len(chosen), slots, *size, dtype=torch.uint8)
            for row, i in enumerate(chosen):
                batch.masks[row, : self.counts[i]] = self._mask(i)
            batch.masks = batch.masks.to(self.device)
        return batch

    def _without_masks(self, i: int) -> Objects:
        one = self.annotations[i]
        return Objects(self.placements[i].boxes(one.boxes), one.labels, one.ignore)

    def _mask(self, i: int) -> Tensor:
        if i not in self._drawn:
            masks = self.annotations[i].masks(self.placements[i])
            if not self._keep_masks:
                return masks
            self._drawn[i] = masks
        return self._drawn[i]

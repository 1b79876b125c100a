"""The objects of all samples, as batches take them: by sample number, on the canvas the images lie on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from danlu.data.annotations import Annotation
from danlu.data.canvas import Placement
from danlu.objects import ObjectBatch, Objects, collate

MASK_MEMORY = 512 << 20  # bytes of masks that are drawn once and kept


class ObjectSet:
    """Stands where a tensor of targets stands for other tasks: it has a length, a device and `index_select`.

    annotations, placements: of each sample, N of them. masks: draw the outlines. Boxes lie ready on the device; masks
    are kept when all of them are few, or else drawn whenever a batch wants them.
    """

    def __init__(self, annotations: Sequence[Annotation], placements: Sequence[Placement], masks: bool) -> None:
        self.annotations, self.placements, self.masks = annotations, placements, masks
        self.counts = [len(one) for one in annotations]
        self._boxes = collate([self._bare(i) for i in range(len(annotations))])
        self._drawn: dict[int, Tensor] = {}
        height, width = placements[0].size if placements else (0, 0)
        self._keeps = sum(self.counts) * height * width <= MASK_MEMORY

    def __len__(self) -> int:
        return len(self.annotations)

    @property
    def device(self) -> torch.device:
        return self._boxes.device

    def to(self, device: torch.device | str) -> ObjectSet:
        self._boxes = self._boxes.to(device)
        return self

    def index_select(self, dim: int, index: Tensor) -> ObjectBatch:
        """The objects of some samples, padded to the most that one of them has; dim is 0."""
        chosen = index.tolist()
        most = max([1, *(self.counts[i] for i in chosen)])
        batch = self._boxes.index_select(dim, index.to(self.device))
        batch = ObjectBatch(batch.boxes[:, :most], batch.labels[:, :most], batch.ignore[:, :most])
        if self.masks:
            size = self.placements[0].size
            batch.masks = torch.zeros(len(chosen), most, *size, dtype=torch.uint8)
            for row, i in enumerate(chosen):
                batch.masks[row, : self.counts[i]] = self._mask(i)
            batch.masks = batch.masks.to(self.device)
        return batch

    def _bare(self, i: int) -> Objects:
        one = self.annotations[i]
        return Objects(self.placements[i].boxes(one.boxes), one.labels, one.ignore)

    def _mask(self, i: int) -> Tensor:
        if i not in self._drawn:
            masks = self.annotations[i].masks(self.placements[i])
            if not self._keeps:
                return masks
            self._drawn[i] = masks
        return self._drawn[i]

"""Objects of all samples, selected by sample number and mapped to the canvas of the images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from danlu.data.annotations import Annotation
from danlu.data.canvas import Placement
from danlu.objects import ObjectBatch, Objects, collate
from danlu.pose.object_model import ObjectModel
from danlu.pose.silhouettes import visible_masks

MAX_KEPT_MASKS = 512 << 20  # bytes; masks of larger datasets are drawn for each batch


class ObjectSet:
    """Targets of detection and segmentation, with the interface of a target tensor: length, device, `index_select`.

    annotations, placements: of each of N samples. masks: whether to draw masks. Boxes are kept on the device; masks are
    drawn once and kept if all of them are smaller than `MAX_KEPT_MASKS`. models: of each class, of data with poses;
    masks of samples without outlines are drawn from them.
    """

    def __init__(
        self,
        annotations: Sequence[Annotation],
        placements: Sequence[Placement],
        masks: bool,
        models: Sequence[ObjectModel] = (),
    ) -> None:
        self.annotations, self.placements, self.masks, self.models = annotations, placements, masks, tuple(models)
        self.counts = [len(one) for one in annotations]
        self._boxes = collate([self._without_masks(i) for i in range(len(annotations))])
        self._poses = self._padded_poses()
        self._cameras = self._placed_cameras()
        self._drawn: dict[int, Tensor] = {}
        height, width = placements[0].size if placements else (0, 0)
        self._keep_masks = sum(self.counts) * height * width <= MAX_KEPT_MASKS

    def __len__(self) -> int:
        return len(self.annotations)

    @property
    def device(self) -> torch.device:
        """Device of boxes and poses."""
        return self._boxes.device

    def to(self, device: torch.device | str) -> ObjectSet:
        """Move boxes and poses to `device`, in place."""
        self._boxes = self._boxes.to(device)
        if self._poses is not None and self._cameras is not None:
            self._poses, self._cameras = self._poses.to(device), self._cameras.to(device)
        return self

    def index_select(self, dim: int, index: Tensor) -> ObjectBatch:
        """Select the objects of some samples, padded to the max number per sample. dim: 0. index: int64 (n,)."""
        chosen = index.tolist()
        slots = max([1, *(self.counts[i] for i in chosen)])
        batch = self._boxes.index_select(dim, index.to(self.device))
        batch = ObjectBatch(batch.boxes[:, :slots], batch.labels[:, :slots], batch.ignore[:, :slots])
        if self._poses is not None and self._cameras is not None:
            rows = index.to(self.device)
            batch.poses = self._poses.index_select(dim, rows)[:, :slots]
            batch.cameras = self._cameras.index_select(dim, rows)
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

    def _padded_poses(self) -> Tensor | None:
        """[R | t] of all objects, (N, M, 3, 4), zero for padding; None for data without poses."""
        rigid = [one.rigid for one in self.annotations]
        if not self.models or any(one is None for one in rigid):
            return None
        padded = torch.zeros(*self._boxes.labels.shape, 3, 4)
        for i, one in enumerate(rigid):
            if one is not None and len(one):
                padded[i, : len(one)] = torch.cat((one.rotations, one.translations[..., None]), -1)
        return padded

    def _placed_cameras(self) -> Tensor | None:
        """Intrinsics of the canvases, (N, 3, 3); None for data without poses."""
        if self._poses is None:
            return None
        pairs = zip(self.annotations, self.placements)
        # Poses of an image without objects are empty, and false.
        return torch.stack([place.camera(one.rigid.camera) for one, place in pairs if one.rigid is not None])

    def typical_camera(self) -> Tensor:
        """Median intrinsics of the canvases, (3, 3), for images of an unknown camera."""
        assert self._cameras is not None
        return self._cameras.cpu().median(0).values

    def _mask(self, i: int) -> Tensor:
        if i not in self._drawn:
            masks = self._outlines(i)
            if not self._keep_masks:
                return masks
            self._drawn[i] = masks
        return self._drawn[i]

    def _outlines(self, i: int) -> Tensor:
        """Masks of one sample from its outlines; where it has none, the visible pixels of its models."""
        one, placement = self.annotations[i], self.placements[i]
        if one.shapes is not None or one.rigid is None or not self.models:
            return one.masks(placement)
        meshes = [self.models[k].mesh for k in one.labels.tolist()]
        rotations, translations, camera = (
            values.double().numpy()
            for values in (one.rigid.rotations, one.rigid.translations, placement.camera(one.rigid.camera))
        )
        return torch.from_numpy(visible_masks(meshes, rotations, translations, camera, placement.size))

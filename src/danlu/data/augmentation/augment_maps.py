"""Augmentation for semantic segmentation: images and label maps of a batch move together."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.config import AugmentConfig
from danlu.data.augmentation import object_crops
from danlu.data.augmentation.augment_objects import AugmentObjects, ObjectDraws
from danlu.data.augmentation.geometry import bernoulli, between
from danlu.data.augmentation.presets import resolve_maps
from danlu.message import message
from danlu.objects import IGNORE, PADDING, ObjectBatch
from danlu.refuse import refusal

WHOLE_FRACTION = 0.5  # of the images, which are neither cropped nor resized


class AugmentMaps(AugmentObjects):
    """Random transform of training images and their label maps.

    The geometry is that of `AugmentObjects` (flip, zoom out, crop, zoom and shift, mosaic) after a rotation. Label
    maps are resized to the nearest pixel, and pixels outside the image are ignored. Half of the images are neither
    cropped nor resized: resampling blurs contours and moves them by fractions of a pixel, and images of the validation
    and test set are not resampled. Raises Refusal for mixup.
    """

    def _resolve(self, config: AugmentConfig, size: int, channels: int, poses: bool) -> AugmentConfig:
        resolved = resolve_maps(config, size=size, channels=channels)
        if resolved.mixup:
            zero = message("data.wanted.no_mixup_semantic", "0 for --task semantic")
            instead = message("data.do.mosaic_supported", "augment.mosaic is supported")
            raise refusal("augment.mixup", zero, resolved.mixup, do=instead)
        return resolved

    def _rectangles(self, boxes: Tensor, valid: Tensor, draws: ObjectDraws) -> Tensor:
        """Rectangle of each image on its canvas, (n, 4), in canvas sides; the whole canvas for half of the images."""
        whole = bernoulli(draws.of("crop")[:, 0], WHOLE_FRACTION)  # a column of IoU crops, which maps do not have
        moved = super()._rectangles(boxes, valid, draws)
        return torch.where(whole[:, None], object_crops.full_canvas(len(moved)), moved)

    def __call__(  # type: ignore[override]
        self, source: Tensor, index: Tensor | None, targets: Tensor, draws: ObjectDraws | None
    ) -> tuple[Tensor, Tensor]:
        """Augment and normalise the selected images with their label maps.

        source, index, draws: see `AugmentObjects`. targets: uint8 (n, S, S). Returns float32 (n, C, side, side) and
        uint8 (n, side, side).
        """
        images = source if index is None else source.index_select(0, index)
        n = len(images)
        if draws is not None and draws.turn is not None:
            images, targets = rotated(images, targets, between(draws.turn, -self._on.rotate, self._on.rotate).deg2rad())
        nothing = ObjectBatch(torch.zeros(n, 1, 4), torch.full((n, 1), PADDING), torch.zeros(n, 1, dtype=torch.bool))
        tiles = self._tiles(images.shape[-1], nothing, draws)
        return self._in_chunks(images, tiles, draws), tiles.render_labels(targets, IGNORE)


def rotated(images: Tensor, maps: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
    """Rotate uint8 images (n, C, S, S) and label maps (n, S, S) clockwise about the centre by angles (n,) in radians.

    Images are interpolated and repeat their edge outside; maps take the nearest pixel and are ignored outside.
    """
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    back = torch.stack((torch.stack((cos, sin, zero), 1), torch.stack((-sin, cos, zero), 1)), 1)
    grid = F.affine_grid(back, [len(images), 1, *images.shape[-2:]], align_corners=False)
    seen = F.grid_sample(images.float(), grid.to(images.device), padding_mode="border", align_corners=False)
    kept = maps.float()[:, None] - IGNORE  # 0 outside, where `grid_sample` has zeros
    labels = F.grid_sample(kept, grid.to(maps.device), mode="nearest", align_corners=False)[:, 0] + IGNORE
    return seen.round_().clamp_(0, 255).to(torch.uint8), labels.to(torch.uint8)

"""Augmentation for semantic segmentation: images and label maps of a batch move together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from danlu.config import AugmentConfig
from danlu.data.augment_objects import AugmentObjects, Draws
from danlu.data.label_maps import IGNORE
from danlu.data.presets import resolve_maps
from danlu.message import message
from danlu.objects import PADDING, ObjectBatch
from danlu.refuse import refusal


class AugmentMaps(AugmentObjects):
    """Random transform of training images and their label maps.

    The geometry is that of `AugmentObjects`: flip, zoom out, crop, zoom and shift, mosaic. Label maps are resized to
    the nearest pixel, and pixels outside the image are ignored. Raises Refusal for mixup.
    """

    def __init__(self, config: AugmentConfig, *, size: int, channels: int, **settings: Any) -> None:
        config = resolve_maps(config, size=size, channels=channels)
        super().__init__(config, size=size, channels=channels, **settings)
        if self._on.mixup:
            zero = message("data.wanted.no_mixup_semantic", "0 for --task semantic")
            instead = message("data.do.mosaic_supported", "augment.mosaic is supported")
            raise refusal("augment.mixup", zero, self._on.mixup, do=instead)

    def __call__(  # type: ignore[override]
        self, source: Tensor, index: Tensor | None, targets: Tensor, draws: Draws | None
    ) -> tuple[Tensor, Tensor]:
        """Augment and normalise the selected images with their label maps.

        source, index, draws: see `AugmentObjects`. targets: uint8 (n, S, S). Returns float32 (n, C, side, side) and
        uint8 (n, side, side).
        """
        images = source if index is None else source.index_select(0, index)
        n = len(images)
        nothing = ObjectBatch(torch.zeros(n, 1, 4), torch.full((n, 1), PADDING), torch.zeros(n, 1, dtype=torch.bool))
        tiles = self._tiles(images.shape[-1], nothing, draws)
        return self._in_chunks(images, tiles, draws), tiles.render_labels(targets, IGNORE)

"""RoIAlign as an `embedding_bag`: the result of torchvision's kernel, several times as fast on a CPU.

A bin is a weighted sum of a few cells of a map, so all bins of all regions are one `embedding_bag` over a table with
one row per cell of all levels and images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def pyramid_bags(
    features: Sequence[Tensor],
    strides: Sequence[float],
    boxes: Tensor,
    image: Tensor,
    level: Tensor,
    *,
    size: int,
    samples: int,
    aligned: bool = True,
) -> Tensor:
    """Same as `regions.pyramid_align`: (R, C, size, size). samples: per side of a bin, >= 1. No gradient to boxes."""
    images, channels = features[0].shape[:2]
    heights, widths = (boxes.new_tensor([x.shape[k] for x in features])[level] for k in (2, 3))
    stride = boxes.new_tensor(strides)[level]
    rows, down = _cells(boxes[:, 1] / stride, boxes[:, 3] / stride, heights, size, samples, aligned)
    columns, across = _cells(boxes[:, 0] / stride, boxes[:, 2] / stride, widths, size, samples, aligned)
    # Offsets into the table: of the level, then of the image within it.
    cells = [x.shape[2] * x.shape[3] for x in features]
    before = torch.tensor([images * sum(cells[:k]) for k in range(len(cells))], device=level.device)[level]
    before = before + image * torch.tensor(cells, device=level.device)[level]
    line = before[:, None, None] + rows * widths.long()[:, None, None]
    index = line[:, :, None, :, None] + columns[:, None, :, None, :]  # (R, down, across, cells down, cells across)
    weight = (down[:, :, None, :, None] * across[:, None, :, None, :]).flatten(3)
    table = torch.cat([x.permute(0, 2, 3, 1).reshape(-1, channels) for x in features])
    sums = F.embedding_bag(
        index.flatten(3).flatten(0, 2), table, mode="sum", per_sample_weights=weight.flatten(0, 2).to(table.dtype)
    )
    return sums.view(len(boxes), size, size, channels).permute(0, 3, 1, 2)


def _cells(low: Tensor, high: Tensor, cells: Tensor, bins: int, samples: int, aligned: bool) -> tuple[Tensor, Tensor]:
    """Indices and weights (R, bins, 2 samples) of the cells read by each bin between low and high (R,) along one axis.

    All in cells. A point more than one cell outside the map reads 0, a nearer one the outermost cell.
    """
    if aligned:
        low, size = low - 0.5, high - low
    else:
        size = (high - low).clamp(min=1)
    steps = (torch.arange(bins * samples, device=low.device) + 0.5) / (bins * samples)
    place = low[:, None] + steps * size[:, None]
    inside = (place >= -1) & (place <= cells[:, None])
    place = torch.minimum(place.clamp(min=0), cells[:, None] - 1)
    first = place.floor()
    offset = place - first
    second = torch.minimum(first + 1, cells[:, None] - 1)
    index = torch.stack([first, second], 2).long()
    weight = torch.stack([1 - offset, offset], 2) * inside[..., None] / samples
    return index.view(-1, bins, 2 * samples), weight.view(-1, bins, 2 * samples)

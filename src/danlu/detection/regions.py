"""Pool features inside boxes to a fixed size, and paste masks of boxes into an image.

Boxes are in pixels of the image; a map of stride 16 has one cell per 16 x 16 pixels. R regions in total: boxes (R, 4)
and `image`, int64 (R,), the index of each region's image among N. Pooling uses torchvision's kernels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def roi_pool(features: Tensor, boxes: Tensor, image: Tensor, *, size: int, stride: float) -> Tensor:
    """Max-pool each region into size x size bins with borders rounded to cells: (R, C, size, size).

    features: (N, C, H, W). Girshick 2015; the last cell is inside the region, and a region has at least one cell.
    """
    import torchvision

    plain = features.float() if features.dtype == torch.bfloat16 else features  # not implemented on CPUs
    return torchvision.ops.roi_pool(plain, _rois(plain, boxes, image), size, 1 / stride).to(features.dtype)


def roi_align(
    features: Tensor,
    boxes: Tensor,
    image: Tensor,
    *,
    size: int,
    stride: float,
    samples: int,
    aligned: bool = True,
) -> Tensor:
    """Average samples^2 interpolated values in each of size x size bins, without rounding: (R, C, size, size).

    features: (N, C, H, W). samples: per side of a bin; 0 for as many as the bin has cells. aligned: cell centres are at
    half coordinates; False is the original Mask R-CNN's form (and that of torchvision's detectors), half a cell off.
    He et al. 2017.
    """
    import torchvision

    rois = _rois(features, boxes, image)
    return torchvision.ops.roi_align(features, rois, size, 1 / stride, samples, aligned)


def warp(images: Tensor, boxes: Tensor, image: Tensor, *, size: int, context: float) -> Tensor:
    """Warp regions of the images to size x size, with a margin around the box: (R, C, size, size).

    context: margin on each side as a fraction of `size`; pixels outside the image are 0. Girshick et al. 2014,
    appendix A.
    """
    margin = (boxes[:, 2:] - boxes[:, :2]) * context / (1 - 2 * context)
    grown = torch.cat([boxes[:, :2] - margin, boxes[:, 2:] + margin], 1)
    return roi_align(images, grown, image, size=size, stride=1, samples=0)


def level_of(boxes: Tensor, *, lowest: int, highest: int, canonical_size: float, canonical_level: int) -> Tensor:
    """The pyramid level of each box, int64 (...): floor(level + log2(sqrt(area) / size)), clamped to lowest..highest.

    Lin et al. 2017 (FPN), equation 1, with level 4 for 224 pixels.
    """
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1).sqrt()
    # The small term lets a side of exactly 112 or 448 reach its level in float32.
    level = (canonical_level + torch.log2(sides / canonical_size + 1e-8) + 1e-6).floor()
    return level.clamp(lowest, highest).long()


def pyramid_align(
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
    """`roi_align`, each box from the map features[level[r]]. level: int64 (R,), 0 for the first map."""
    pooled = features[0].new_zeros(len(boxes), features[0].shape[1], size, size)
    for number, (one, stride) in enumerate(zip(features, strides, strict=True)):
        rows = (level == number).nonzero()[:, 0]
        part = roi_align(one, boxes[rows], image[rows], size=size, stride=stride, samples=samples, aligned=aligned)
        pooled = pooled.index_copy(0, rows, part.to(pooled.dtype))
    return pooled


@torch.no_grad()
def crop_masks(masks: Tensor, boxes: Tensor, image: Tensor, index: Tensor, *, size: int) -> Tensor:
    """Crop object masks to boxes, the targets of a mask head: float (R, size, size) in [0, 1].

    masks: uint8 (N, M, H, W). image, index: int64 (R,), image and object matched to each box.
    """
    number, row = (image * masks.shape[1] + index).unique(return_inverse=True)
    used = masks.flatten(0, 1)[number][:, None].to(boxes.dtype)
    return roi_align(used, boxes, row, size=size, stride=1, samples=0)[:, 0]


def paste_masks(masks: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    """Paste masks (D, m, m) of boxes (D, 4) into the whole image: float (D, height, width), 0 outside the box.

    The value at a pixel is the mask interpolated at the pixel's centre, so that a mask of ones is its box exactly.
    Interpolation in a box is one matrix for the rows and one for the columns.
    """
    down = _interpolation(boxes[:, 1], boxes[:, 3], height, masks.shape[1])
    across = _interpolation(boxes[:, 0], boxes[:, 2], width, masks.shape[2])
    return down @ masks.to(boxes.dtype) @ across.mT


def _interpolation(low: Tensor, high: Tensor, pixels: int, cells: int) -> Tensor:
    """Interpolation weights (D, pixels, cells) of the cells between low and high at each pixel's centre."""
    centres = torch.arange(pixels, device=low.device, dtype=low.dtype) + 0.5
    size = (high - low)[:, None]
    inside = (centres > low[:, None]) & (centres < high[:, None])
    place = (centres - low[:, None]) / torch.where(size > 0, size, 1) * cells - 0.5
    # Between the outermost cells' centres and the border their values are constant.
    apart = place.clamp(0, cells - 1)[..., None] - torch.arange(cells, device=low.device, dtype=low.dtype)
    return (1 - apart.abs()).clamp(min=0) * inside[..., None]


def _rois(features: Tensor, boxes: Tensor, image: Tensor) -> Tensor:
    return torch.cat([image[:, None].to(features.dtype), boxes.to(features.dtype)], 1)

"""Turn images about the principal point of their camera, and the poses, boxes and masks of their objects with them."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.data.augmentation.tiles import MIN_VISIBLE_FRACTION, mask_boxes
from danlu.objects import ObjectBatch
from danlu.pose.cameras import roll


def turned(images: Tensor, objects: ObjectBatch, angles: Tensor) -> tuple[Tensor, ObjectBatch]:
    """Turn uint8 images (n, C, S, S) by angles (n,) in radians, clockwise, and their objects, which have poses.

    A camera that rolls about its optical axis maps pixels by K roll K^-1, an affine map for any focal lengths, and
    poses (R, t) to (roll R, roll t). Boxes are recomputed from masks where there are some; else they enclose the
    ellipse in the old box. Pixels that come from outside repeat the edge.
    """
    assert objects.poses is not None
    assert objects.cameras is not None
    turns = roll(angles.to(objects.poses))
    cameras = objects.cameras
    maps = (cameras @ turns @ torch.linalg.inv(cameras))[:, :2]  # old pixel -> new pixel, (n, 2, 3)
    grid = sampling_grid(maps, images.shape[-1]).to(images.device)
    seen = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    seen = seen.round_().clamp_(0, 255).to(torch.uint8)
    poses = turns[:, None] @ objects.poses
    if objects.masks is None:
        return seen, replace(objects, poses=poses, boxes=_enclosing(objects.boxes, maps))
    masks = F.grid_sample(objects.masks.float(), grid.to(objects.masks.device), mode="nearest", align_corners=False)
    masks = masks.to(torch.uint8)
    boxes = mask_boxes(masks).to(objects.boxes)
    found = replace(objects, poses=poses, masks=masks, boxes=boxes)
    left = masks.flatten(2).sum(2, dtype=torch.float32)
    before = objects.masks.flatten(2).sum(2, dtype=torch.float32)
    gone = (left < MIN_VISIBLE_FRACTION * before).to(boxes.device) & objects.valid
    return seen, replace(found, ignore=found.ignore | gone)


def sampling_grid(maps: Tensor, side: int) -> Tensor:
    """Grid for `grid_sample` (n, S, S, 2) of affine maps (n, 2, 3) from old to new pixels of square images."""
    inverse = torch.linalg.inv(maps[:, :, :2])
    centres = torch.arange(side, dtype=maps.dtype) + 0.5
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    new = torch.stack((x, y), -1)
    old = (new - maps[:, None, None, :, 2]) @ inverse.transpose(-1, -2)[:, None]
    return old * (2 / side) - 1


def _enclosing(boxes: Tensor, maps: Tensor) -> Tensor:
    """Boxes (n, M, 4) around the mapped ellipses inscribed in boxes (n, M, 4)."""
    centres, half = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) / 2
    moved = centres @ maps[:, :, :2].transpose(-1, -2) + maps[:, None, :, 2]
    reach = (half.square() @ maps[:, :, :2].square().transpose(-1, -2)).sqrt()
    found = torch.cat((moved - reach, moved + reach), -1)
    return torch.where((half > 0).all(-1, keepdim=True), found, boxes)

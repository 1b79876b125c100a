"""Square crops of images as a camera would see them that is turned towards each box.

Such a view shows an object by its rotation relative to the viewing ray alone, wherever it lies in the image, without
the distortion that a crop of the image has off its centre. R views of N images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.pose.cameras import directions, focal_lengths, roll
from danlu.pose.rotations import rays_to_axis

MAX_SAMPLED_VALUES = 1 << 25  # of the images from which views are sampled at once


@dataclass(frozen=True)
class Views:
    """Cameras turned towards boxes.

    turns: from the camera's frame to the view's, (R, 3, 3). reach: half the side of each view at depth 1, (R,).
    cameras: intrinsics of the images, (R, 3, 3). image: of each view, int64 (R,).
    """

    turns: Tensor
    reach: Tensor
    cameras: Tensor
    image: Tensor

    def rows(self, index: Tensor) -> Views:
        """Some of the views, int64 (r,)."""
        return Views(self.turns[index], self.reach[index], self.cameras[index], self.image[index])

    def poses(self, poses: Tensor) -> Tensor:
        """Poses [R | t] (R, 3, 4) of the camera's frame in the frames of the views."""
        return self.turns @ poses

    def back(self, poses: Tensor) -> Tensor:
        """Poses (R, 3, 4) of the frames of the views in the camera's frame."""
        return self.turns.transpose(-1, -2) @ poses

    def crops(self, images: Tensor, size: int) -> Tensor:
        """Sample the views, float32 (R, C, size, size), from images (N, C, H, W); what lies outside is 0."""
        at_once = max(1, MAX_SAMPLED_VALUES // images[0].numel())
        parts = torch.arange(len(self.image), device=images.device).split(at_once)
        grid = self._grid(size, images.shape[-2:])
        seen = [F.grid_sample(images[self.image[p]].float(), grid[p], align_corners=False) for p in parts]
        return torch.cat(seen) if seen else images.new_zeros(0, images.shape[1], size, size, dtype=torch.float32)

    def _grid(self, size: int, image_size: torch.Size) -> Tensor:
        """Places in the images of the pixels of the views, in the units of `grid_sample`, (R, size, size, 2)."""
        steps = (torch.arange(size, device=self.reach.device) + 0.5) * (2 / size) - 1
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        flat = torch.stack((x, y), -1).flatten(0, 1) * self.reach[:, None, None]
        rays = torch.cat((flat, torch.ones_like(flat[..., :1])), -1)
        pixels = rays @ (self.cameras @ self.turns.transpose(-1, -2)).transpose(-1, -2)
        pixels = pixels[..., :2] / pixels[..., 2:].clamp(min=1e-3)
        sides = pixels.new_tensor(tuple(image_size)).flip(0)
        return (pixels / sides * 2 - 1).unflatten(1, (size, size))


def towards(squares: Tensor, cameras: Tensor, image: Tensor, angles: Tensor | None = None) -> Views:
    """Turn a camera towards the centre of each square (R, 4), so that the view has its side.

    cameras: intrinsics of each view's image, (R, 3, 3). image: its number, (R,). angles: in radians, by which the view
    is turned about its axis in addition, (R,).
    """
    rays = directions((squares[:, :2] + squares[:, 2:]) / 2, cameras)
    turns = rays_to_axis(rays).transpose(-1, -2)
    if angles is not None:
        turns = roll(angles) @ turns
    # At the edge of the image a pixel covers a smaller angle: 1 / |ray| of the one in the middle.
    reach = (squares[:, 2] - squares[:, 0]) / 2 / focal_lengths(cameras) / rays.norm(dim=-1)
    return Views(turns, reach, cameras, image)

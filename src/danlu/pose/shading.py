"""Scores of poses: the extent to which a model at a pose explains the pixels of an image, by points on its surface.

The colour of the image where a point is seen is compared with the colour of the model there, lit by a light that is
fitted to the image, and with the colour of the background around the object. A point counts +1/2 where the image is
the model, -1/2 where it is the background, and 0 half-way between both, which is on the outline. The sum over the
visible surface is largest for the pose that covers the object exactly. What hides the object costs all poses nearly the
same. R objects, H poses of each, P points.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

NOISE = 0.1  # squared difference of colours, in units of the network's input, that tells nothing
OUTSIDE = 2  # pixels around the model that belong to neither model nor background
BACKGROUND = 11  # pixels of the reduced crop, side of the square in which the background is averaged
LIGHT_ROUNDS = 3  # of the fit of the light, in which points with another colour lose their weight
USUAL_LIGHT = (2.8, 0.0, 0.0, 0.0, -2.0, -2.0, -2.0)  # of an image in [0, 1], normalised by 0.5 and 0.25
NEAR, BLIND = 1e-3, 0.05  # weight of the usual light in the fit, for poses that are nearly right and for any pose
TINY = 1e-12


@dataclass(frozen=True)
class Surfaces:
    """Points on the surface of each object, in metres, with outward normals and colours, (R, P, 3) each."""

    points: Tensor
    normals: Tensor
    colours: Tensor

    def rows(self, index: Tensor) -> Surfaces:
        """Some of the objects, int64 (r,)."""
        return Surfaces(self.points[index], self.normals[index], self.colours[index])

    def every(self, step: int) -> Surfaces:
        """Every `step`-th point."""
        return Surfaces(self.points[:, ::step], self.normals[:, ::step], self.colours[:, ::step])

    @property
    def usable(self) -> Tensor:
        """bool (R,): objects whose model has faces and colours; without normals no visible side is known."""
        return self.normals.flatten(1).any(1)


def seen_points(surfaces: Surfaces, reach: Tensor, poses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Places of surface points in crops, for `grid_sample`, (R, H, P, 2), their area there, and their normals.

    reach: half the side of each crop at depth 1, (R,). poses: (R, H, 3, 4) in the frames of the crops. Areas (R, H, P)
    are in arbitrary units, 0 for points turned away. That an object hides parts of itself is left out.
    """
    turns = poses[..., :3].transpose(-1, -2)
    points = surfaces.points[:, None] @ turns + poses[..., None, :, 3]
    normals = surfaces.normals[:, None] @ turns
    depth = points[..., 2].clamp(min=1e-3)
    area = -(normals * points).sum(-1).clamp(max=0) / depth**3
    return points[..., :2] / (depth * reach[:, None, None])[..., None], area, normals


def fitted_light(crops: Tensor, reach: Tensor, surfaces: Surfaces, poses: Tensor, usual: float = NEAR) -> Tensor:
    """Light (R, 7) of crops (R, 3, S, S) of objects at poses (R, 3, 4), the coefficients of their colours in the image.

    These are colour x (ambient + direction . normal) + one number per channel, which the normalisation of the network's
    input needs. The light is white, so that colours tell faces apart. A linear fit, robust against what
    hides the object. usual: weight of `USUAL_LIGHT` in it; without it a dark light explains any colours.
    """
    places, area, normals = seen_points(surfaces, reach, poses[:, None])
    wanted, area, normals = _sampled(crops, places).flatten(1)[..., None], area[:, 0], normals[:, 0]
    shading = torch.cat((torch.ones_like(normals[..., :1]), normals), -1)
    channels = torch.eye(3, device=crops.device).expand(*normals.shape, 3)
    basis = torch.cat((surfaces.colours[..., None] * shading[..., None, :], channels), -1).flatten(1, 2)  # (R, 3P, 7)
    prior = usual * torch.eye(7, device=crops.device)
    found = basis.new_tensor(USUAL_LIGHT)[:, None]
    target, weights = prior @ found, area
    for _ in range(LIGHT_ROUNDS):
        share = weights / weights.sum(-1, keepdim=True).clamp(min=TINY)
        left = (basis * share.repeat_interleave(3, 1)[..., None]).transpose(-1, -2)
        found = torch.linalg.solve(left @ basis + prior, left @ wanted + target)
        error = (basis @ found - wanted).square().unflatten(1, (-1, 3)).sum((-1, -2))
        weights = area * (-error / (2 * NOISE)).exp().clamp(min=1e-3)
    return found[..., 0]


def nearby_background(crops: Tensor, places: Tensor) -> Tensor:
    """Background near each place in crops (R, 3, S, S), at half their size: mean of what is outside the model.

    places: of points of the model, as in `seen_points`, (R, P, 2).
    """
    side = crops.shape[-1] // 2
    small = F.avg_pool2d(crops, 2)
    cells = ((places + 1) * (side / 2)).floor().long().clamp(0, side - 1)
    covered = torch.zeros(len(crops), side * side, device=crops.device)
    covered.scatter_(1, cells[..., 1] * side + cells[..., 0], 1.0)
    outside = 1 - F.max_pool2d(covered.view(-1, 1, side, side), OUTSIDE + 1, 1, OUTSIDE // 2)
    sums, counts = (F.avg_pool2d(one, BACKGROUND, 1, BACKGROUND // 2) for one in (small * outside, outside))
    everywhere = (small * outside).mean((2, 3), keepdim=True) / outside.mean((2, 3), keepdim=True).clamp(min=1e-3)
    return (sums + 1e-3 * everywhere) / (counts + 1e-3)


def match_scores(
    crops: Tensor, background: Tensor, light: Tensor, reach: Tensor, surfaces: Surfaces, poses: Tensor
) -> Tensor:
    """Scores (R, H) of poses (R, H, 3, 4): sum of the votes of the module's first lines, by area in units of the crop.

    background: see `nearby_background`, (R, 3, s, s). light: (R, 7).
    """
    places, area, normals = seen_points(surfaces, reach, poses)
    seen, behind = _sampled(crops, places), _sampled(background, places)
    shading = normals @ light[:, None, 1:4, None] + light[:, None, None, :1]
    model = surfaces.colours[:, None] * shading + light[:, None, None, 4:]
    off_model, off_background = ((seen - one).square().sum(-1) for one in (model, behind))
    votes = (off_background + NOISE / 2) / (off_model + off_background + NOISE) - 0.5
    return (area * votes).sum(-1)


def _sampled(maps: Tensor, places: Tensor) -> Tensor:
    """Values (R, H, P, C) of maps (R, C, S, S)."""
    return F.grid_sample(maps, places, padding_mode="border", align_corners=False).permute(0, 2, 3, 1)

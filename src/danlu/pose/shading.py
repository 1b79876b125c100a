"""Scores of poses: the extent to which a model at a pose explains the pixels of an image, by points on its surface.

The colour of the image where a point is seen is compared with the colour of the model there, lit by a light that is
fitted to the image, and with the colour of the background around the object. A point counts +1/2 where the image is
the model, -1/2 where it is the background, and 0 half-way between both, which is on the outline. The sum over the
visible surface is largest for the pose that covers the object exactly. What hides the object is like neither, so that
its votes have a low weight. R objects, H poses of each, P points, V directions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.pose.self_occlusion import view_directions

NOISE = 0.1  # squared difference of colours, in units of the network's input, that tells nothing
NEITHER = 1.0  # squared difference from both model and background at which a vote loses half its weight
OUTSIDE = 2  # pixels around the model that belong to neither model nor background
BACKGROUND = 11  # pixels of the reduced crop, side of the square in which the background is averaged
LIGHT_ROUNDS = 3  # of the fit of the light, in which points with another colour lose their weight
USUAL_LIGHT = (2.8, 0.0, 0.0, 0.0, -2.0, -2.0, -2.0)  # of an image in [0, 1], normalised by 0.5 and 0.25
USUAL_WEIGHT_NEARLY_RIGHT, USUAL_WEIGHT_ANY_POSE = 1e-3, 0.05  # of the usual light in the fit
TINY = 1e-12


@dataclass(frozen=True)
class Surfaces:
    """Points on the surface of each object, in metres, with outward normals and colours, (R, P, 3) each.

    unhidden: points that no other part of the surface hides, by direction (`self_occlusion.unhidden`), bool (R, V, P).
    """

    points: Tensor
    normals: Tensor
    colours: Tensor
    unhidden: Tensor

    @classmethod
    def of(cls, surface: Tensor, unhidden: Tensor, labels: Tensor) -> Surfaces:
        """Select the surfaces of objects of classes (R,) from those of all classes, (K, 3, P, 3) and (K, V, P)."""
        points, normals, colours = surface[labels].unbind(1)
        return cls(points, normals, colours, unhidden[labels])

    def rows(self, index: Tensor) -> Surfaces:
        """Some of the objects, int64 (r,)."""
        return Surfaces(self.points[index], self.normals[index], self.colours[index], self.unhidden[index])

    def every(self, step: int) -> Surfaces:
        """Every `step`-th point."""
        points, normals, colours = (one[:, ::step] for one in (self.points, self.normals, self.colours))
        return Surfaces(points, normals, colours, self.unhidden[..., ::step])

    @property
    def usable(self) -> Tensor:
        """bool (R,): objects whose model has faces and colours; without normals no visible side is known."""
        return self.normals.flatten(1).any(1)


def seen_points(surfaces: Surfaces, reach: Tensor, poses: Tensor) -> tuple[Tensor, Tensor]:
    """Return coordinates of surface points in crops, for `grid_sample`, (R, H, P, 2), and their areas (R, H, P).

    reach: half the side of each crop at depth 1, (R,). poses: (R, H, 3, 4) in the frames of the crops. Areas are in
    arbitrary units, 0 for points that are turned away or hidden by the object itself.
    """
    turns, translations = poses[..., :3], poses[..., 3]
    points = turns.flatten(1, 2) @ surfaces.points.transpose(1, 2)  # one product for all poses of an object
    x, y, z = (points.unflatten(1, (-1, 3)) + translations[..., None]).unbind(2)
    z = z.clamp(min=1e-3)
    camera = -(turns.transpose(-1, -2) @ translations[..., None])[..., 0]  # its place in the frame of the object
    heights = (surfaces.points * surfaces.normals).sum(-1)[:, None]
    area = (camera @ surfaces.normals.transpose(1, 2) - heights).clamp(min=0) / z**3
    direction = (camera @ view_directions().to(camera.device).T).argmax(-1)
    area = area * surfaces.unhidden[torch.arange(len(poses), device=poses.device)[:, None], direction]
    return torch.stack((x, y), -1) / (z * reach[:, None, None])[..., None], area


def fitted_light(
    crops: Tensor, reach: Tensor, surfaces: Surfaces, poses: Tensor, usual: float = USUAL_WEIGHT_NEARLY_RIGHT
) -> Tensor:
    """Light (R, 7) of crops (R, 3, S, S) of objects at poses (R, 3, 4), the coefficients of their colours in the image.

    These are colour x (ambient + direction . normal) + one number per channel, which the normalisation of the network's
    input needs. The light is white, so that colours tell faces apart. A linear fit, robust against what
    hides the object. usual: weight of `USUAL_LIGHT` in it; without it a dark light explains any colours.
    """
    places, area = seen_points(surfaces, reach, poses[:, None])
    wanted, area = _sampled(crops, places).flatten(1)[..., None], area[:, 0]
    normals = poses[..., :3] @ surfaces.normals.transpose(1, 2)  # (R, 3, P), in the frame of the crop
    shading = torch.cat((torch.ones_like(normals[:, :1]), normals), 1)
    lit = surfaces.colours.transpose(1, 2)[:, None] * shading[:, :, None]  # (R, 4, 3, P)
    channels = torch.eye(3, device=crops.device)[..., None].expand(len(crops), 3, 3, lit.shape[-1])
    basis = torch.cat((lit, channels), 1).flatten(2)  # (R, 7, 3P)
    prior = usual * torch.eye(7, device=crops.device)
    found = basis.new_tensor(USUAL_LIGHT)[:, None]
    target, weights = prior @ found, area
    for _ in range(LIGHT_ROUNDS):
        normalised = weights / weights.sum(-1, keepdim=True).clamp(min=TINY)
        left = basis * normalised.repeat(1, 3)[:, None]
        found = torch.linalg.solve(left @ basis.transpose(1, 2) + prior, left @ wanted + target)
        error = (basis.transpose(1, 2) @ found - wanted).square().unflatten(1, (3, -1)).sum((1, -1))
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
    sums, counts = (_blurred(one) for one in (small * outside, outside))
    everywhere = (small * outside).mean((2, 3), keepdim=True) / outside.mean((2, 3), keepdim=True).clamp(min=1e-3)
    return (sums + 1e-3 * everywhere) / (counts + 1e-3)


def _blurred(maps: Tensor) -> Tensor:
    """Mean over squares of `BACKGROUND` pixels, first along columns, then along rows."""
    along = F.avg_pool2d(maps, (BACKGROUND, 1), 1, (BACKGROUND // 2, 0))
    return F.avg_pool2d(along, (1, BACKGROUND), 1, (0, BACKGROUND // 2))


def match_scores(
    crops: Tensor, background: Tensor, light: Tensor, reach: Tensor, surfaces: Surfaces, poses: Tensor
) -> Tensor:
    """Scores (R, H) of poses (R, H, 3, 4): sum of the votes of the module's first lines, by area in units of the crop.

    background: see `nearby_background`, (R, 3, s, s). light: (R, 7).
    """
    places, area = seen_points(surfaces, reach, poses)
    both = torch.cat((crops, background.repeat_interleave(2, -1).repeat_interleave(2, -2)), 1)
    seen, behind = _sampled(both, places).split(3, 1)
    towards = (poses[..., :3].transpose(-1, -2) @ light[:, None, 1:4, None])[..., 0]  # in the frame of the object
    shading = towards @ surfaces.normals.transpose(1, 2) + light[:, None, :1]
    model = surfaces.colours.transpose(1, 2)[:, :, None] * shading[:, None] + light[:, 4:, None, None]
    off_model, off_background = ((seen - one).square().sum(1) for one in (model, behind))
    votes = (off_background + NOISE / 2) / (off_model + off_background + NOISE) - 0.5
    weights = area / (1 + torch.minimum(off_model, off_background) / NEITHER)
    return (weights * votes).sum(-1)


def _sampled(maps: Tensor, places: Tensor) -> Tensor:
    """Values (R, C, H, P) of maps (R, C, S, S)."""
    return F.grid_sample(maps, places, padding_mode="border", align_corners=False)

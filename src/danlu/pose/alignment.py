"""Improve poses by comparing the shaded model with the pixels of the image, without training and without a renderer.

An error of the depth of 2 % moves an outline of 40 pixels by less than half a pixel. Networks that are trained for
minutes do not reach that, but the outline is sharp in the image. The new pose is the mean of the best of many random
ones around the old one, by their `shading.match_scores`; they are drawn again around it, closer together (cross-entropy
method). All objects are improved at once, in a crop of each. R objects, H poses of each, P points.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from danlu.pose.cameras import focal_lengths, project
from danlu.pose.rotations import from_axis_angle, nearest_rotations
from danlu.pose.shading import (
    TINY,
    USUAL_WEIGHT_ANY_POSE,
    Surfaces,
    fitted_light,
    match_scores,
    nearby_background,
    seen_points,
)
from danlu.pose.view_crops import Views, towards

CROP = 64  # pixels, side of the crops
CONTEXT = 1.5  # side of a crop relative to the diameter of its object
POSES = 28  # around the current pose, in each round
BEST = 6  # of these, whose mean is the next pose
TURN, SHIFT, ZOOM = 0.12, 0.04, 0.05  # first standard deviations: radians about each axis, diameters, log depth
AT_ONCE = 1 << 18  # max number of points of all poses compared in one operation
CANDIDATE_TURN = 0.2  # as TURN: about half the angle between neighbouring rotations
CANDIDATE_STEP = 8  # every eighth point is enough to compare many rotations


@dataclass(frozen=True)
class Effort:
    """Work spent on one object.

    Args:
        rounds: Number of times that poses are drawn and compared.
        shrink: Factor of the standard deviations from round to round.
        step: Interval between the points of the surface that are compared; 1 for all of them.
        candidates: Number of rotations that are improved before the best two are chosen, where none is known. With one,
            the second of two estimates is not tried either.
        min_score: Score of a detection below which its pose is left as it is.
    """

    rounds: int
    shrink: float
    step: int
    candidates: int = 1
    min_score: float = 0.0


THOROUGH = Effort(24, 0.9, step=1, candidates=16)
# For validations during a training: a quarter of the time, and less in early epochs, which are sure of little.
QUICK = Effort(8, 0.74, step=2, min_score=0.3)
OF_CANDIDATES = Effort(8, 0.8, step=2)
OF_ONE_CANDIDATE = Effort(4, 0.74, step=2)


@dataclass(frozen=True)
class ObjectCrops:
    """Crops (R, 3, S, S) of images around objects, as `views` show them. extent: diameters in metres, (R,)."""

    pixels: Tensor
    views: Views
    surfaces: Surfaces
    extent: Tensor

    @classmethod
    def around(cls, images: Tensor, image: Tensor, cameras: Tensor, surfaces: Surfaces, poses: Tensor) -> ObjectCrops:
        """Crop images (N, 3, H, W) around objects at poses (R, 3, 4).

        image: number of the image of each object, (R,). cameras: intrinsics of these images, (R, 3, 3).
        """
        extent = 2 * surfaces.points.norm(dim=-1).amax(1).clamp(min=1e-6)
        centres = project(poses[:, None, :, 3], cameras)[:, 0]
        half = (focal_lengths(cameras) * extent / poses[:, 2, 3] * (CONTEXT / 2))[:, None]
        views = towards(torch.cat((centres - half, centres + half), 1), cameras, image)
        return cls(views.crops(images, CROP), views, surfaces, extent)

    def rows(self, index: Tensor) -> ObjectCrops:
        """Some of the objects, int64 (r,)."""
        return ObjectCrops(self.pixels[index], self.views.rows(index), self.surfaces.rows(index), self.extent[index])

    def parts(self, poses: int) -> list[Tensor]:
        """Numbers of objects that are compared at once in this many poses each."""
        size = max(1, AT_ONCE // (poses * self.surfaces.points.shape[1]))
        return list(torch.arange(len(self.pixels), device=self.pixels.device).split(size))


def aligned(crops: ObjectCrops, poses: Tensor, effort: Effort = THOROUGH) -> Tensor:
    """Improve poses [R | t] (R, 3, 4) in the camera's frame. A model without faces or colours keeps its pose."""
    if not len(poses):
        return poses
    deviations = (TURN, SHIFT, ZOOM)
    found = [
        own.views.back(_improved(own, own.views.poses(poses[part]), effort, deviations))
        for part in crops.parts(POSES)
        for own in [crops.rows(part)]
    ]
    return torch.where(crops.surfaces.usable[:, None, None], torch.cat(found), poses)


def best_aligned(crops: ObjectCrops, poses: Tensor, others: Tensor, effort: Effort = THOROUGH) -> Tensor:
    """Improve two estimates of each pose, and keep the one that explains the image better, (R, 3, 4).

    poses, others: (R, 3, 4) in the camera's frame; others: NaN for objects with one estimate.
    """
    found = aligned(crops, poses, effort)
    tried = others.isfinite().flatten(1).all(1).nonzero()[:, 0]
    if effort.candidates == 1 or not len(tried):
        return found
    own = crops.rows(tried)
    second = aligned(own, others[tried], effort)
    better = explained(own, second) > explained(own, found[tried])
    found[tried[better]] = second[better]
    return found


def explained(crops: ObjectCrops, poses: Tensor) -> Tensor:
    """Extent (R,) to which poses (R, 3, 4) in the camera's frame explain the image, see `shading.match_scores`."""
    found = [
        scores_with_own_light(own, own.views.poses(poses[part])[:, None], step=1)[:, 0]
        for part in crops.parts(1)
        for own in [crops.rows(part)]
    ]
    return torch.cat(found)


def turned_to_match(
    crops: ObjectCrops, poses: Tensor, rotations: Tensor, effort: Effort = THOROUGH
) -> tuple[Tensor, Tensor]:
    """Find the two rotations that match the image best, near poses (R, 3, 4) in the camera's frame.

    Tried are the given ones and `rotations` (A, 3, 3) relative to the viewing ray; only the places are believed.

    Returns:
        The best poses and the second best ones, each (R, 3, 4); with one candidate, the second is NaN.
    """
    if not len(poses):
        return poses, poses
    parts = crops.parts(-(-len(rotations) // CANDIDATE_STEP))  # they are compared at this fraction of the points
    found = [_turned(crops.rows(part), poses[part], rotations, effort.candidates) for part in parts]
    usable = crops.surfaces.usable[:, None, None]
    best, second = (torch.cat(each) for each in zip(*found))
    return torch.where(usable, best, poses), torch.where(usable, second, torch.nan)


def _turned(crops: ObjectCrops, poses: Tensor, rotations: Tensor, count: int) -> tuple[Tensor, Tensor]:
    seen = crops.views.poses(poses)
    turns = torch.cat((seen[:, None, :, :3], rotations.to(seen).expand(len(seen), -1, 3, 3)), 1)
    tried = torch.cat((turns, seen[:, None, :, 3:].expand(-1, turns.shape[1], 3, 1)), -1)
    chosen = scores_with_own_light(crops, tried, CANDIDATE_STEP).topk(count, 1).indices
    rows = torch.arange(len(seen), device=seen.device)
    candidates = tried[rows[:, None], chosen].flatten(0, 1)
    repeated, effort = crops.rows(rows.repeat_interleave(count)), OF_CANDIDATES if count > 1 else OF_ONE_CANDIDATE
    better = _improved(repeated, candidates, effort, (CANDIDATE_TURN, SHIFT, ZOOM)).unflatten(0, (-1, count))
    order = scores_with_own_light(crops, better, effort.step).argsort(1, descending=True)
    best = crops.views.back(better[rows, order[:, 0]])
    return best, crops.views.back(better[rows, order[:, 1]]) if count > 1 else torch.full_like(best, torch.nan)


def scores_with_own_light(crops: ObjectCrops, poses: Tensor, step: int) -> Tensor:
    """Scores (R, H) of poses (R, H, 3, 4) that may be far from the true one, each with a light of its own.

    step: between the points that are compared.
    """
    count, few = poses.shape[1], crops.surfaces.every(step)
    reach = crops.views.reach
    places = seen_points(few, reach, poses)[0]
    rows = torch.arange(len(poses), device=poses.device).repeat_interleave(count)
    each, own, one = few.rows(rows), poses.flatten(0, 1)[:, None], reach[rows]
    # One background for all: what no pose covers.
    background = nearby_background(crops.pixels, places.flatten(1, 2))
    light = fitted_light(crops.pixels[rows], one, each, own[:, 0], USUAL_WEIGHT_ANY_POSE)
    found = match_scores(crops.pixels[rows], background[rows], light, one, each, own)[:, 0]
    return found.unflatten(0, (-1, count))


def _improved(crops: ObjectCrops, poses: Tensor, effort: Effort, deviations: tuple[float, float, float]) -> Tensor:
    """Improve poses (R, 3, 4) in the frames of the views."""
    draws = _draws(poses, effort, deviations)
    reach, surfaces = crops.views.reach, crops.surfaces.every(effort.step)
    for changes in draws:
        tried = torch.cat((poses[:, None], moved(poses, crops.extent, changes)), 1)
        light = fitted_light(crops.pixels, reach, surfaces, poses)
        background = nearby_background(crops.pixels, seen_points(crops.surfaces, reach, poses[:, None])[0][:, 0])
        scores = match_scores(crops.pixels, background, light, reach, surfaces, tried)
        poses = _mean_of_best(tried, scores)
    return poses


def _draws(like: Tensor, effort: Effort, deviations: tuple[float, float, float]) -> Tensor:
    """Changes for each pose and round, (rounds, POSES, 6), always the same: evaluation must not depend on its past."""
    numbers = torch.randn(effort.rounds, POSES, 6, generator=torch.Generator().manual_seed(0))
    turn, shift, zoom = deviations
    widths = numbers.new_tensor([turn, turn, turn, shift, shift, zoom])
    return (numbers * widths * effort.shrink ** torch.arange(effort.rounds)[:, None, None]).to(like)


def moved(poses: Tensor, extent: Tensor, changes: Tensor) -> Tensor:
    """Turn and move poses (R, 3, 4) by each of the changes (H, 6), (R, H, 3, 4).

    A change is a turn about the object's origin, as a rotation vector, a shift across the view in units of `extent`
    (R,), and the change of the logarithm of the depth, which keeps the place in the image.
    """
    turns = from_axis_angle(changes[:, :3], changes[:, :3].norm(dim=-1))
    depth = poses[:, None, 2, 3] * changes[:, 5].exp()
    ray = poses[:, None, :2, 3] / poses[:, None, 2:, 3] + changes[:, 3:5] * (extent / poses[:, 2, 3])[:, None, None]
    translation = torch.cat((ray * depth[..., None], depth[..., None]), -1)
    return torch.cat((turns @ poses[:, None, :, :3], translation[..., None]), -1)


def disturbed(poses: Tensor, extent: Tensor) -> Tensor:
    """Move each of poses (R, 3, 4) by one of the first changes that `aligned` tries, always the same."""
    changes = _draws(poses, QUICK, (TURN, SHIFT, ZOOM))[0]
    rows = torch.arange(len(poses), device=poses.device)
    return moved(poses, extent, changes)[rows, rows % len(changes)]


def _mean_of_best(poses: Tensor, scores: Tensor) -> Tensor:
    """Weighted mean (R, 3, 4) of the `BEST` poses (R, H, 3, 4) with the highest scores (R, H)."""
    values, index = scores.topk(BEST, dim=1)
    best = poses.gather(1, index[..., None, None].expand(-1, -1, 3, 4))
    weights = values - values[:, -1:] + 1e-3 * values[:, :1].abs() + TINY
    mean = (best * (weights / weights.sum(1, keepdim=True))[..., None, None]).sum(1)
    return torch.cat((nearest_rotations(mean[..., :3]), mean[..., 3:]), -1)

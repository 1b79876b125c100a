"""Hough voting of PoseCNN: pixels of an object vote for its projected origin along their predicted directions.

Xiang et al. 2018, section III-C. The released code scores every pixel of the image as a candidate. The votes of a cone
of 26 degrees (cos > 0.9) have a plateau around the true centre, so a coarse grid of candidates loses nothing, and least
squares over the lines of the inliers then finds the centre more precisely than the full map, in a fraction of the time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

MIN_COSINE = 0.9  # between a pixel's direction and that of a candidate it votes for
RADIUS = 0.6  # diameters at the pixel's depth: only candidates nearer than that get its vote
STRIDE = 4.0  # pixels between candidates
MAX_VOTERS = 128  # of one object for the coarse votes, evenly chosen; the released code takes every tenth pixel
ROUNDS = 5  # of least squares over the inliers
MAX_PAIRS = 1 << 22  # voters x candidates compared in one operation
MIN_PIXELS = 500 / (640 * 480)  # pixels of an object in the label map, as a fraction of the image
BOX_MARGIN = 0.05  # of the regions from voters, on each side, as a fraction of their box
EPSILON = 1e-6


@dataclass
class VotedCentres:
    """Objects found by voting in one image, one per class at most.

    labels: int64 (D,). centres: (D, 2) in pixels. depths: (D,), mean over the voters, in the unit of the input. boxes:
    (D, 4), around the centre, through the farthest voter on each axis. votes: (D,), fraction of the object's pixels
    that vote for the centre.
    """

    labels: Tensor
    centres: Tensor
    depths: Tensor
    boxes: Tensor
    votes: Tensor


def votes(pixels: Tensor, directions: Tensor, radii: Tensor, candidates: Tensor) -> Tensor:
    """Count the pixels that vote for each candidate, (C,).

    pixels: (P, 2). directions: unit vectors (P, 2). radii: (P,) in pixels; a candidate further away on either axis gets
    no vote. candidates: (C, 2).
    """
    if not len(pixels):
        return pixels.new_zeros(len(candidates))
    parts = candidates.split(max(1, MAX_PAIRS // len(pixels)))
    return torch.cat([_agrees(pixels, directions, radii, part[:, None]).sum(-1) for part in parts]).to(pixels.dtype)


def _agrees(pixels: Tensor, directions: Tensor, radii: Tensor, centre: Tensor) -> Tensor:
    """Return whether pixels (P, 2) vote for centres (2,) or (C, 1, 2): bool (P,) or (C, P)."""
    offset = centre - pixels
    x, y = offset.unbind(-1)
    along = x * directions[:, 0] + y * directions[:, 1]
    near = torch.maximum(x.abs(), y.abs()) < radii
    return near & (along > MIN_COSINE * (x * x + y * y).sqrt())


def intersection(pixels: Tensor, directions: Tensor, weights: Tensor) -> Tensor:
    """Return the point (2,) with the smallest weighted sum of squared distances to the pixels' lines.

    weights: (P,). The pixels' mean where all lines are parallel.
    """
    normals = torch.stack((-directions[:, 1], directions[:, 0]), -1)
    matrix = (weights[:, None] * normals).T @ normals
    centre = pixels.mean(0)
    right = (weights * (normals * (pixels - centre)).sum(1)) @ normals
    a, b, d = matrix[0, 0], matrix[0, 1], matrix[1, 1]
    determinant = a * d - b * b
    found = torch.stack((d * right[0] - b * right[1], a * right[1] - b * right[0])) / determinant.clamp(min=EPSILON)
    return torch.where(determinant > EPSILON, centre + found, centre)


def refined(pixels: Tensor, directions: Tensor, radii: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Improve a centre (2,) by least squares over the lines of its voters; return it and its voters, bool (P,).

    An error of the angle moves the line at the centre in proportion to the distance, so each line is weighted by the
    inverse square of the distance, as far as a pixel can be told from its neighbours.
    """
    chosen = _agrees(pixels, directions, radii, centre)
    for _ in range(ROUNDS):
        distances = (centre - pixels).norm(dim=1)
        weights = chosen / (distances.square() + STRIDE**2)
        moved = intersection(pixels, directions, weights)
        inliers = _agrees(pixels, directions, radii, moved)
        if inliers.sum() < chosen.sum() / 2:  # few or parallel lines lead away from the voters
            break
        centre, chosen = moved, inliers
    return centre, chosen


def vote_centre(pixels: Tensor, directions: Tensor, radii: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Find the centre (2,) that pixels of one object vote for, and its voters, bool (P,).

    pixels: centres of the object's pixels (P, 2), P > 0. directions: (P, 2), of any length. radii: (P,) in pixels, see
    `votes`. size: (height, width) of the image; candidates are inside it.
    """
    directions = directions / directions.norm(dim=1, keepdim=True).clamp(min=EPSILON)
    candidates, counts = coarse_votes(pixels, directions, radii, size)
    return refined(pixels, directions, radii, candidates[counts.argmax()])


def coarse_votes(pixels: Tensor, directions: Tensor, radii: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return candidates (C, 2) on a grid over the image, by rows, and the votes of some pixels for them, (C,).

    directions: unit vectors (P, 2). Other arguments: see `vote_centre`.
    """
    y, x = (torch.arange(STRIDE / 2, side, STRIDE, device=pixels.device, dtype=pixels.dtype) for side in size)
    candidates = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).flatten(0, 1)
    step = -(-len(pixels) // MAX_VOTERS)
    return candidates, votes(pixels[::step], directions[::step], radii[::step], candidates)


def vote_map(labels: Tensor, directions: Tensor, depths: Tensor, diameters: Tensor, focal: float) -> Tensor:
    """Return the fraction of an object's pixels that vote for each candidate, the largest over the classes, (h, w).

    Arguments: see `hough_voting`. (h, w): grid of candidates, `STRIDE` pixels apart.
    """
    height, width = labels.shape
    shape = tuple(len(range(int(STRIDE / 2), side, int(STRIDE))) for side in (height, width))
    found = depths.new_zeros(shape)
    for _, pixels, radii in _voters(labels, depths, diameters, focal):
        x, y = pixels.long().unbind(1)
        ways = directions[:, y, x].T
        ways = ways / ways.norm(dim=1, keepdim=True).clamp(min=EPSILON)
        _, counts = coarse_votes(pixels, ways, radii, (height, width))
        voting = len(range(0, len(pixels), -(-len(pixels) // MAX_VOTERS)))
        found = torch.maximum(found, counts.view(shape) / voting)
    return found


def hough_voting(labels: Tensor, directions: Tensor, depths: Tensor, diameters: Tensor, focal: float) -> VotedCentres:
    """Find at most one object of each class in one image.

    labels: class of each pixel, int64 (H, W), -1 for background. directions: of each pixel for its class (2, H, W).
    depths: likewise, in the unit of the diameters (H, W). diameters: of each class (K,). focal: focal length in pixels.
    """
    height, width = labels.shape
    rows, found = [], []
    for k, pixels, radii in _voters(labels, depths, diameters, focal):
        found.append(k)
        x, y = pixels.long().unbind(1)
        depth = depths[y, x]
        centre, voters = vote_centre(pixels, directions[:, y, x].T, radii, (height, width))
        if voters.any():
            half = (pixels[voters] - centre).abs().amax(0) + 0.5
            fraction = voters.to(depth).mean()
            rows.append(torch.cat((centre, depth[voters].mean()[None], centre - half, centre + half, fraction[None])))
        else:
            rows.append(torch.full((8,), math.nan).to(depth))
    table = torch.stack(rows) if rows else depths.new_zeros(0, 8)
    kept = ~table.isnan().any(1)
    numbers = torch.tensor(found, dtype=torch.int64, device=labels.device)[kept]
    table = table[kept]
    return VotedCentres(numbers, table[:, :2], table[:, 2], table[:, 3:7], table[:, 7])


def _voters(labels: Tensor, depths: Tensor, diameters: Tensor, focal: float) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield the class, pixel centres (P, 2) and radii (P,) of each class with enough pixels; see `hough_voting`."""
    counts = labels[labels >= 0].bincount(minlength=len(diameters))
    for k, n in enumerate(counts.tolist()):
        if n > MIN_PIXELS * labels.numel():
            y, x = (labels == k).nonzero().unbind(1)
            depth = depths[y, x]
            radii = RADIUS * focal * diameters[k].to(depth) / depth.clamp(min=EPSILON) + 1
            yield k, torch.stack((x, y), 1).to(depth) + 0.5, radii


def regions(boxes: Tensor) -> Tensor:
    """Grow boxes of voters (D, 4) by `BOX_MARGIN` of their sides, the regions from which rotations are read."""
    margin = (boxes[:, 2:] - boxes[:, :2]) * BOX_MARGIN
    return boxes + torch.cat((-margin, margin), 1)

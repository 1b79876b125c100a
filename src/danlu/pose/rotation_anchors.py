"""Rotation anchors: rotations spread over all orientations, which a network scores before it refines one of them.

Regression of a rotation has to average over orientations that look the same; scores do not, and each anchor only has to
learn corrections of a few degrees. It is to rotations what anchor boxes are to detection.

A anchors, n objects, G symmetries.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from danlu.pose.rotations import angles_between, random_rotations

CANDIDATES_PER_ANCHOR = 60  # random rotations among which the anchors are chosen
SEED = 1


@cache
def spread_rotations(count: int) -> Tensor:
    """Choose `count` rotations far from each other, float32 (count, 3, 3); always the same ones.

    Farthest-point sampling among random rotations: 200 of them leave no rotation more than about 37 degrees away.
    """
    candidates = random_rotations(count * CANDIDATES_PER_ANCHOR, torch.Generator().manual_seed(SEED)).float()
    chosen = [0]
    distances = angles_between(candidates, candidates[0])
    for _ in range(count - 1):
        chosen.append(int(distances.argmax()))
        distances = torch.minimum(distances, angles_between(candidates, candidates[chosen[-1]]))
    return candidates[chosen]


def anchor_distances(moments: Tensor, anchors: Tensor, truth: Tensor, symmetries: Tensor) -> Tensor:
    """Root mean squared distance of a model's points turned by each anchor and by the truth, in metres (n, A).

    moments: mean of x x^T of the model's points (3, 3). anchors: (A, 3, 3). truth: (n, 3, 3). symmetries: rotations of
    the group (G, 3, 3); the smallest distance over them counts. With |A x - T S x|^2 = 2 |x|^2 - 2 x^T A^T T S x
    all distances are one matrix product.
    """
    turned = anchors @ moments
    products = (turned[:, None] @ symmetries.transpose(-1, -2)).flatten(2)  # A M S^T, (A, G, 9)
    alike = (truth.flatten(1) @ products.flatten(0, 1).T).unflatten(1, products.shape[:2]).amax(2)
    return (2 * (moments.trace() - alike)).clamp(min=0).sqrt()

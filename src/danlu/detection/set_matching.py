"""Match queries to objects one to one by the assignment of minimal total cost (Carion et al. 2020, equation 1).

N images, Q queries, M objects (padded). Boxes are (cx, cy, w, h) relative to the image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from danlu.detection.boxes import convert, giou
from danlu.detection.matching import BACKGROUND
from danlu.objects import ObjectBatch

INVALID_COST = 1e9  # of a cost that is not finite: a diverged network is reported by its loss, not by the matching


@torch.no_grad()
def match_one_to_one(costs: Tensor, objects: ObjectBatch) -> Tensor:
    """Assign to each object a query of its own so that the sum of the costs (N, Q, M) is minimal.

    Returns the index of each query's object, int64 (N, Q), BACKGROUND for a query without one. Padding and ignored
    objects are not matched. Of more objects than queries, those that would add the most to the cost stay unmatched, as
    in the paper's code.
    """
    from scipy.optimize import linear_sum_assignment

    valid = objects.valid.cpu()
    table = costs.float().nan_to_num(INVALID_COST, INVALID_COST, -INVALID_COST).cpu()
    matched = torch.full(costs.shape[:2], BACKGROUND)
    for image, (cost, chosen) in enumerate(zip(table, valid)):
        index = chosen.nonzero()[:, 0]
        queries, places = (torch.from_numpy(one) for one in linear_sum_assignment(cost[:, index].numpy()))
        matched[image, queries] = index[places]
    return matched.to(costs.device)


@torch.no_grad()
def box_costs(boxes: Tensor, targets: Tensor, *, l1: float, giou_weight: float) -> Tensor:
    """l1 * |difference of the coordinates| - giou_weight * GIoU of every pair: (N, Q, 4), (N, M, 4) -> (N, Q, M)."""
    one, other = boxes.float()[:, :, None], targets.float()[:, None]
    distance = (one - other).abs().sum(-1)
    return l1 * distance - giou_weight * giou(convert(one, "cxcywh", "xyxy"), convert(other, "cxcywh", "xyxy"))

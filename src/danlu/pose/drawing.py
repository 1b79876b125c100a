"""Lines that show a pose in an image: the box of the model and its axes."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

EDGES = [(i, i | bit) for i in range(8) for bit in (1, 2, 4) if not i & bit]  # between corners, x fastest
AXES = [(8, 9), (8, 10), (8, 11)]  # x, y and z from the origin
AXIS_LENGTH = 0.6  # relative to the largest distance of a side of the box from the origin


def landmarks(box: tuple[Tensor, Tensor]) -> Tensor:
    """Return the corners of a box (lower, upper), x fastest, then the origin and the ends of the axes, (12, 3)."""
    low, high = box
    corners = [
        [(low, high)[c][0], (low, high)[b][1], (low, high)[a][2]] for a, b, c in itertools.product((0, 1), repeat=3)
    ]
    length = float(torch.cat((low, high)).abs().max()) * AXIS_LENGTH
    ends = torch.eye(3, dtype=low.dtype) * length
    return torch.cat((torch.tensor(corners, dtype=low.dtype), torch.zeros(1, 3, dtype=low.dtype), ends))

"""Encode boxes as network outputs relative to anchors, and decode them.

Both methods of a coder take (..., 4) and broadcast: anchors (A, 4) apply to N images, (R, 1, 4) to one code per class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

# Outputs of an untrained network must not overflow exp: no box is decoded to more than 62.5 times its anchor.
MAX_LOG_SCALE = math.log(1000 / 16)
# Padding and boxes of zero area get a finite code, so that masked losses stay finite.
MIN_RATIO = 1e-6


class Coder(Protocol):
    """A code of boxes (..., 4) relative to anchors (..., 4)."""

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Boxes to codes."""
        ...

    def decode(self, codes: Tensor, anchors: Tensor) -> Tensor:
        """Codes to boxes."""
        ...


@dataclass(frozen=True)
class DeltaCoder:
    """(dx, dy, dw, dh): centre offset in anchor sizes and log of the size ratio, each divided by its variance.

    Girshick et al. 2014; variances (0.1, 0.1, 0.2, 0.2) are SSD's and the weights (10, 10, 5, 5) of Fast R-CNN's heads,
    all 1 those of the RPN. Over `anchors.cells(..., offset=0)` with variances 1 this is the coding of YOLOX.
    """

    variances: tuple[float, float, float, float]

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Return the codes (..., 4) of boxes (..., 4) relative to anchors (..., 4)."""
        size, anchor = boxes[..., 2:] - boxes[..., :2], anchors[..., 2:] - anchors[..., :2]
        shift = (boxes[..., :2] + boxes[..., 2:] - anchors[..., :2] - anchors[..., 2:]) / (2 * anchor)
        scale = (size / anchor).clamp(min=MIN_RATIO).log()
        return torch.cat([shift, scale], -1) / shift.new_tensor(self.variances)

    def decode(self, codes: Tensor, anchors: Tensor) -> Tensor:
        """Return the boxes (..., 4) of codes (..., 4) relative to anchors (..., 4)."""
        codes = codes.to(anchors.dtype) * anchors.new_tensor(self.variances)
        anchor = anchors[..., 2:] - anchors[..., :2]
        centre = (anchors[..., :2] + anchors[..., 2:]) / 2 + codes[..., :2] * anchor
        half = codes[..., 2:].clamp(max=MAX_LOG_SCALE).exp() * anchor / 2
        return torch.cat([centre - half, centre + half], -1)


@dataclass(frozen=True)
class DistanceCoder:
    """(left, top, right, bottom): distances of the sides from the anchor's centre, in anchor sizes.

    Tian et al. 2019 (FCOS), over `anchors.cells(..., offset=0.5)`. log: the codes are the logarithms of the distances,
    so that every code is a box around the centre; a centre outside the box cannot be encoded then.
    """

    log: bool = False

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Return the codes (..., 4) of boxes (..., 4) relative to anchors (..., 4)."""
        centre, anchor = (anchors[..., :2] + anchors[..., 2:]) / 2, anchors[..., 2:] - anchors[..., :2]
        distances = torch.cat([(centre - boxes[..., :2]) / anchor, (boxes[..., 2:] - centre) / anchor], -1)
        return distances.clamp(min=MIN_RATIO).log() if self.log else distances

    def decode(self, codes: Tensor, anchors: Tensor) -> Tensor:
        """Return the boxes (..., 4) of codes (..., 4) relative to anchors (..., 4)."""
        codes = codes.to(anchors.dtype)
        distances = codes.clamp(max=MAX_LOG_SCALE).exp() if self.log else codes
        centre, anchor = (anchors[..., :2] + anchors[..., 2:]) / 2, anchors[..., 2:] - anchors[..., :2]
        return torch.cat([centre - distances[..., :2] * anchor, centre + distances[..., 2:] * anchor], -1)


def centreness(distances: Tensor) -> Tensor:
    """Centre-ness of a point in its box, in [0, 1]: distances (..., 4) to left, top, right, bottom -> (...).

    sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b)); 0 for a point outside. Tian et al. 2019, equation 3.
    """
    opposite = distances.unflatten(-1, (2, 2))
    low, high = opposite.amin(-2).clamp(min=0), opposite.amax(-2)
    return (low / torch.where(high > 0, high, 1)).prod(-1).sqrt()

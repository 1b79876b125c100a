"""Which anchors a loss is taken over, when there are thousands of background for every object.

`matched` is what danlu.detection.matching gives, (N, A); IGNORED anchors are never taken.
"""

from __future__ import annotations

import torch
from torch import Tensor

from danlu.detection.matching import BACKGROUND


@torch.no_grad()
def sample(
    matched: Tensor, *, count: int, positive_share: float, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """`count` anchors of each image at random, at most the given share of them positive, the rest background.

    Returns chosen, int64 (N, S) with S = min(count, A), and taken, bool (N, S): False fills up the rows of images
    that have fewer. Positives come first. `matched.gather(1, chosen)` tells what each answers for. Girshick 2015.
    """
    anchors = matched.shape[1]
    luck = torch.rand(matched.shape, device=matched.device, generator=generator)
    positives = luck.masked_fill(matched < 0, -1).topk(min(int(count * positive_share), anchors), dim=1)
    # Chosen positives stand above every background anchor, all else below.
    key = luck.masked_fill(matched != BACKGROUND, -1)
    key.scatter_(1, positives.indices, torch.where(positives.values >= 0, 2, key.gather(1, positives.indices)))
    value, chosen = key.topk(min(count, anchors), dim=1)
    return chosen, value >= 0


@torch.no_grad()
def hard_negatives(losses: Tensor, matched: Tensor, *, ratio: float, least: int) -> Tensor:
    """bool (N, A): the background anchors of the largest loss, `ratio` for each positive of the image.

    losses: (N, A). least: so many even for an image with few or no positives; 0 is SSD's rule, under which an image
    without objects teaches nothing. Liu et al. 2016, section 2.2.
    """
    wanted = ((matched >= 0).sum(1, keepdim=True) * ratio).long().clamp(min=least)
    background = matched == BACKGROUND
    order = losses.masked_fill(~background, -torch.inf).argsort(1, descending=True)
    first = (torch.arange(losses.shape[1], device=losses.device) < wanted).expand_as(background)
    return torch.zeros_like(background).scatter(1, order, first) & background

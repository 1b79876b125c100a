"""Sample anchors for the loss, since there are thousands of background anchors for every object.

`matched` (N, A) comes from danlu.detection.matching; IGNORED anchors are never sampled.
"""

from __future__ import annotations

import torch
from torch import Tensor

from danlu.detection.matching import BACKGROUND


@torch.no_grad()
def sample(
    matched: Tensor, *, count: int, positive_fraction: float, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Sample `count` anchors per image at random, at most `positive_fraction` of them positive, the rest background.

    Returns chosen, int64 (N, S) with S = min(count, A), and taken, bool (N, S): False is padding. Positives come first.
    `matched.gather(1, chosen)` is the object matched to each (Girshick 2015).
    """
    anchors = matched.shape[1]
    random = torch.rand(matched.shape, device=matched.device, generator=generator)
    positives = random.masked_fill(matched < 0, -1).topk(min(int(count * positive_fraction), anchors), dim=1)
    # Sampled positives rank above every background anchor, everything else below.
    key = random.masked_fill(matched != BACKGROUND, -1)
    key.scatter_(1, positives.indices, torch.where(positives.values >= 0, 2, key.gather(1, positives.indices)))
    value, chosen = key.topk(min(count, anchors), dim=1)
    return chosen, value >= 0


@torch.no_grad()
def hard_negatives(losses: Tensor, matched: Tensor, *, ratio: float, min_count: int) -> Tensor:
    """Select the background anchors with the largest losses, `ratio` per positive of the image: bool (N, A).

    losses: (N, A). min_count: per image; 0 is SSD's rule, by which images without objects contribute no loss.
    Liu et al. 2016, section 2.2.
    """
    wanted = ((matched >= 0).sum(1, keepdim=True) * ratio).long().clamp(min=min_count)
    background = matched == BACKGROUND
    order = losses.masked_fill(~background, -torch.inf).argsort(1, descending=True)
    first = (torch.arange(losses.shape[1], device=losses.device) < wanted).expand_as(background)
    return torch.zeros_like(background).scatter(1, order, first) & background

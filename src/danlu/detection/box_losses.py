"""Losses of detectors, one value per element unless they say otherwise; the caller sums and divides by the positives.

Logits and boxes are taken to float32 first: a sum over a hundred thousand anchors has no meaning in half precision.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.detection.boxes import MEASURES
from danlu.refuse import one_of


def sigmoid_focal(logits: Tensor, targets: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """-alpha_t (1 - p_t)^gamma log p_t: easy elements count less. targets: 0 or 1, as logits (...) -> (...).

    alpha weighs the ones, 1 - alpha the zeros; negative alpha weighs nothing. Lin et al. 2017.
    """
    targets = targets.to(torch.float32)
    wrong = logits.float() * (1 - 2 * targets)  # the logit of the wrong answer
    loss = F.softplus(wrong) * wrong.sigmoid().pow(gamma)
    return loss if alpha < 0 else loss * (alpha * targets + (1 - alpha) * (1 - targets))


def class_focal(logits: Tensor, labels: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """`sigmoid_focal` over K classes against class numbers, summed over the classes. (..., K), int64 (...) -> (...).

    A negative label is background, all zeros. No table of zeros and ones is made: every logit is first taken for a
    zero, and then the few that should be one are put right.
    """
    logits = logits.float()
    own = logits.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    zero, one = torch.zeros((), device=logits.device), torch.ones((), device=logits.device)
    loss = sigmoid_focal(logits, zero, alpha=alpha, gamma=gamma).sum(-1)
    right = sigmoid_focal(own, one, alpha=alpha, gamma=gamma) - sigmoid_focal(own, zero, alpha=alpha, gamma=gamma)
    return loss + right * (labels >= 0)


def quality_focal(logits: Tensor, targets: Tensor, *, beta: float) -> Tensor:
    """|t - p|^beta BCE(p, t): a focal loss for targets in [0, 1], such as the IoU reached. Li et al. 2020."""
    logits, targets = logits.float(), targets.float()
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (targets - logits.sigmoid()).abs().pow(beta) * entropy


def varifocal(logits: Tensor, targets: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """t BCE(p, t) where t > 0, alpha p^gamma BCE(p, 0) where t = 0: only negatives lose weight. Zhang et al. 2021."""
    logits, targets = logits.float(), targets.float()
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return torch.where(targets > 0, targets, alpha * logits.sigmoid().pow(gamma)) * entropy


def smooth_l1(codes: Tensor, targets: Tensor, *, beta: float) -> Tensor:
    """e^2 / (2 beta) up to |e| = beta, then |e| - beta / 2, summed over the coordinates. (..., 4) -> (...).

    Girshick 2015, with beta 1; torchvision's region networks have 1/9. beta 0 is the absolute error.
    """
    return F.smooth_l1_loss(codes.float(), targets.float(), reduction="none", beta=beta).sum(-1)


def box_loss(boxes: Tensor, targets: Tensor, *, measure: str) -> Tensor:
    """1 - measure, with measure "iou", "giou", "diou" or "ciou". Boxes (..., 4), xyxy -> (...)."""
    function = MEASURES[one_of("the box loss", measure, MEASURES, "a known measure")]
    return 1 - function(boxes.float(), targets.float())

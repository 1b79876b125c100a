"""Losses of detectors, one value per element unless stated; the caller sums and divides by the number of positives.

Logits and boxes are converted to float32 first: half precision cannot sum over a hundred thousand anchors.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.detection.boxes import MEASURES
from danlu.message import message
from danlu.refuse import one_of


def sigmoid_focal(logits: Tensor, targets: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """Focal loss -alpha_t (1 - p_t)^gamma log p_t. logits, targets of 0 or 1: (...) -> (...).

    alpha is the weight of ones, 1 - alpha that of zeros; a negative alpha means no weights. Lin et al. 2017.
    """
    targets = targets.to(torch.float32)
    wrong = logits.float() * (1 - 2 * targets)  # the logit of the wrong class
    loss = F.softplus(wrong) * wrong.sigmoid().pow(gamma)
    return loss if alpha < 0 else loss * (alpha * targets + (1 - alpha) * (1 - targets))


def class_focal(logits: Tensor, labels: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """`sigmoid_focal` over K classes with integer labels, summed over the classes. (..., K), int64 (...) -> (...).

    A negative label is background, all zeros. Avoids a one-hot table: the loss is computed for targets 0 everywhere and
    then corrected for the few targets 1.
    """
    logits = logits.float()
    own = logits.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    zero, one = torch.zeros((), device=logits.device), torch.ones((), device=logits.device)
    loss = sigmoid_focal(logits, zero, alpha=alpha, gamma=gamma).sum(-1)
    right = sigmoid_focal(own, one, alpha=alpha, gamma=gamma) - sigmoid_focal(own, zero, alpha=alpha, gamma=gamma)
    return loss + right * (labels >= 0)


def quality_focal(logits: Tensor, targets: Tensor, *, beta: float) -> Tensor:
    """Quality focal loss |t - p|^beta BCE(p, t) for targets in [0, 1], such as an IoU. Li et al. 2020."""
    logits, targets = logits.float(), targets.float()
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (targets - logits.sigmoid()).abs().pow(beta) * entropy


def varifocal(logits: Tensor, targets: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """Varifocal loss: t BCE(p, t) where t > 0, alpha p^gamma BCE(p, 0) where t = 0. Zhang et al. 2021."""
    logits, targets = logits.float(), targets.float()
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return torch.where(targets > 0, targets, alpha * logits.sigmoid().pow(gamma)) * entropy


def smooth_l1(codes: Tensor, targets: Tensor, *, beta: float) -> Tensor:
    """Smooth L1: e^2 / (2 beta) up to |e| = beta, then |e| - beta / 2, summed over coordinates. (..., 4) -> (...).

    Girshick 2015, with beta 1; torchvision's region networks use 1/9. beta 0 is the absolute error.
    """
    return F.smooth_l1_loss(codes.float(), targets.float(), reduction="none", beta=beta).sum(-1)


def box_loss(boxes: Tensor, targets: Tensor, *, measure: str) -> Tensor:
    """1 - similarity; measure: "iou", "giou", "diou" or "ciou". Boxes (..., 4), xyxy -> (...)."""
    function = MEASURES[
        one_of("the box loss", measure, MEASURES, message("detection.wanted.known_measure", "a known measure"))
    ]
    return 1 - function(boxes.float(), targets.float())

"""What is minimised: each loss gives one number per sample, so that metrics and weights stay exact.

N samples, K classes, T target columns. A classification target is int64 (N,) class indices or float (N, K) class
shares (mixup, cutmix); a network with one output (N, 1) tells class 1 from class 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.config import LossConfig
from danlu.refuse import one_of, refusal


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """1/2 (output - target)^2, mean over the columns. (N, T), (N, T) -> (N,)."""
    return 0.5 * F.mse_loss(outputs, targets.view_as(outputs), reduction="none").flatten(1).mean(1)


def absolute(outputs: Tensor, targets: Tensor) -> Tensor:
    """|output - target|, mean over the columns. (N, T), (N, T) -> (N,)."""
    return F.l1_loss(outputs, targets.view_as(outputs), reduction="none").flatten(1).mean(1)


def huber(outputs: Tensor, targets: Tensor, delta: float) -> Tensor:
    """e^2 / 2 up to |e| = delta, then the line delta (|e| - delta / 2). (N, T), (N, T) -> (N,).

    Huber, "Robust estimation of a location parameter", 1964.
    """
    return F.huber_loss(outputs, targets.view_as(outputs), reduction="none", delta=delta).flatten(1).mean(1)


def cross_entropy(outputs: Tensor, targets: Tensor, smoothing: float, rubbish: float | None = None) -> Tensor:
    """-sum_k t_k log softmax(output)_k; its gradient by the outputs is softmax(output) - t. (N, K) -> (N,).

    smoothing moves this share of the target evenly onto all classes (Szegedy et al. 2016). rubbish: j of one more class
    that is never right and whose output is always -j. Where outputs are minus squared distances, the loss is then
    y_D + log(e^-j + sum_k e^-y_k), LeNet-5's (LeCun et al. 1998, equation 9): the right code must come as near as j,
    not only nearer than the others.
    """
    if rubbish is not None:
        every = F.pad(outputs, (0, 1), value=-rubbish)
        return every.logsumexp(1) - (_shares(targets, outputs.shape[1]) * outputs).sum(1)
    return F.cross_entropy(outputs, targets, reduction="none", label_smoothing=smoothing)


def binary_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """One yes-or-no question per output, by logits; mean over the outputs. (N, K) or (N, 1) -> (N,)."""
    wanted = _class_one(targets)[:, None] if outputs.shape[1] == 1 else _shares(targets, outputs.shape[1])
    return F.binary_cross_entropy_with_logits(outputs, wanted.to(outputs.dtype), reduction="none").mean(1)


def focal(outputs: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """-sum_k t_k (1 - p_k)^gamma log p_k with p = softmax(output): easy samples count less. (N, K) -> (N,).

    Lin et al., "Focal Loss for Dense Object Detection", 2017, in its softmax form; gamma 0 is cross-entropy.
    """
    log_p = F.log_softmax(outputs, dim=1)
    if targets.dtype == torch.long:
        log_p = log_p.gather(1, targets[:, None])
        targets = torch.ones_like(log_p)
    rest = (-log_p.expm1()).clamp(min=1e-12)  # 1 - p; at 0 the slope of a power below 1 has no end
    return -(targets * rest**gamma * log_p).sum(1)


def perceptron(outputs: Tensor, targets: Tensor) -> Tensor:
    """How far the right answer lies behind; 0 where it leads. (N, K) or (N, 1) -> (N,).

    One output: max(0, -y output) with y = -1 or +1; gradient descent on it with one sample at a time is Rosenblatt's
    rule (1958). A tie counts as a mistake (the gradient passes at 0, unlike relu's), so zero weights do start.
    Several: max(0, max_{j != y} o_j - o_y), which is the same as max_j o_j - o_y.
    """
    if outputs.shape[1] == 1:
        behind = (1 - 2 * _class_one(targets).to(outputs.dtype)) * outputs[:, 0]
        return torch.where(behind >= 0, behind, 0)
    return outputs.amax(1) - (_shares(targets, outputs.shape[1]) * outputs).sum(1)


def _shares(targets: Tensor, classes: int) -> Tensor:
    """Class shares (N, K) of indices or shares."""
    return F.one_hot(targets, classes) if targets.dtype == torch.long else targets


def _class_one(targets: Tensor) -> Tensor:
    """Share of class 1, (N,), of indices (N,), of (N, 1) or of shares (N, 2)."""
    return targets if targets.ndim == 1 else targets[:, -1]


@dataclass(frozen=True)
class Loss:
    """function: (outputs, targets, **options) -> (N,). options: the fields of LossConfig it takes."""

    function: Callable[..., Tensor]
    description: str
    tasks: tuple[str, ...]
    options: tuple[str, ...] = ()


CLASSIFY, REGRESS = ("classify",), ("regress",)
LOSSES: dict[str, Loss] = {
    "cross-entropy": Loss(cross_entropy, "-log of the right class's probability", CLASSIFY, ("smoothing", "rubbish")),
    "binary-cross-entropy": Loss(binary_cross_entropy, "one yes-or-no question per class", CLASSIFY),
    "focal": Loss(focal, "cross-entropy that discounts easy samples", CLASSIFY, ("gamma",)),
    "perceptron": Loss(perceptron, "how far the right class lies behind the best one", CLASSIFY),
    "squared": Loss(squared, "half the squared error", REGRESS),
    "absolute": Loss(absolute, "absolute error: outliers pull less", REGRESS),
    "huber": Loss(huber, "squared near zero, absolute beyond delta", REGRESS, ("delta",)),
}


def build_loss(
    config: LossConfig, class_counts: Tensor | None = None, task: str | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss a config names: (outputs, targets) -> losses (N,), float32.

    class_counts: training samples of each class, (K,); None for regression. task: refuse a loss made for another one.
    With class weights a sample's loss is multiplied by its class's weight; weights have mean 1 over the training set.
    Raises Refusal for an unknown loss, one of another task, or settings that do not belong to it.
    """
    loss = LOSSES[one_of("loss", str(config.name), LOSSES, "a known loss")]
    if task is not None and task not in loss.tasks:
        fitting = [name for name, other in LOSSES.items() if task in other.tasks]
        raise refusal("loss", f"one that can {task}", config.name, do=f"choose from {', '.join(fitting)}")
    if config.smoothing and "smoothing" not in loss.options:
        raise refusal("loss.smoothing", f"0 with {config.name}", config.smoothing, do="use --loss cross-entropy")
    if config.rubbish is not None and (config.smoothing or "rubbish" not in loss.options):
        raise refusal("loss.rubbish", "left out but with cross-entropy, and without smoothing", config.rubbish)
    function = partial(loss.function, **{option: getattr(config, option) for option in loss.options})
    if config.class_weights is None:
        return lambda outputs, targets: function(outputs.float(), targets)

    if "classify" not in loss.tasks or class_counts is None:
        raise refusal("loss.class_weights", "left out where there are no classes", config.class_weights)
    weights = class_weights(config.class_weights, class_counts)

    def weighted(outputs: Tensor, targets: Tensor) -> Tensor:
        of_class = weights.to(outputs.device, non_blocking=True)
        of_sample = of_class[targets] if targets.dtype == torch.long else targets @ of_class
        return of_sample * function(outputs.float(), targets)

    return weighted


def class_weights(wanted: str | tuple[float, ...], counts: Tensor) -> Tensor:
    """One weight per class, (K,), with mean 1 over the training samples that `counts` (K,) counts.

    "balanced" makes every class weigh the same in total: N / (K n_k), a class without samples gets 0.
    """
    counts = counts.detach().cpu().double()
    if isinstance(wanted, str):
        weights = torch.where(counts > 0, 1 / counts.clamp(min=1), 0.0)
    else:
        weights = torch.tensor(wanted, dtype=torch.float64)
        if len(weights) != len(counts):
            raise refusal("loss.class_weights", f"{len(counts)} numbers, one per class", list(wanted))
        if (weights < 0).any() or not (weights * counts).sum() > 0:
            raise refusal("loss.class_weights", "at least 0, and above 0 for some class with samples", list(wanted))
    return (weights * counts.sum() / (weights * counts).sum()).float()

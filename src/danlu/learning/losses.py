"""Loss functions. Each returns one value per sample, so that metrics and sample weights stay exact.

N samples, K classes, T target columns. Classification targets are class indices, int64 (N,), or class probabilities,
float (N, K) (mixup, cutmix); targets of several labels per sample are float (N, K) of 0 and 1. A network with a single
output (N, 1) discriminates class 1 from class 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.config import LossConfig
from danlu.learning.pixel_losses import dice, dice_cross_entropy, lovasz, per_pixel, pixel_cross_entropy
from danlu.message import message
from danlu.refuse import one_of, refusal
from danlu.task_spec import TASKS, Targets, TaskName
from danlu.user_objects import find, is_own


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared error 1/2 (output - target)^2, mean over the columns. (N, T), (N, T) -> (N,).

    For classes the target is one-hot, so that the outputs themselves, without softmax, are fitted to 0 and 1; a single
    output (N, 1) is fitted to -1 and 1.
    """
    if outputs.shape[1] == 1 and (targets.dtype == torch.long or targets.shape[1:] == (2,)):
        targets = 2 * _class_one(targets).to(outputs.dtype) - 1
    elif targets.dtype == torch.long:
        targets = F.one_hot(targets, outputs.shape[1])
    return 0.5 * F.mse_loss(outputs, targets.view_as(outputs).to(outputs.dtype), reduction="none").flatten(1).mean(1)


def absolute(outputs: Tensor, targets: Tensor) -> Tensor:
    """Absolute error |output - target|, mean over the columns. (N, T), (N, T) -> (N,)."""
    return F.l1_loss(outputs, targets.view_as(outputs), reduction="none").flatten(1).mean(1)


def huber(outputs: Tensor, targets: Tensor, delta: float) -> Tensor:
    """Huber loss: e^2 / 2 up to |e| = delta, then delta (|e| - delta / 2). (N, T), (N, T) -> (N,).

    Huber, "Robust estimation of a location parameter", 1964.
    """
    return F.huber_loss(outputs, targets.view_as(outputs), reduction="none", delta=delta).flatten(1).mean(1)


def cross_entropy(outputs: Tensor, targets: Tensor, smoothing: float, rubbish: float | None = None) -> Tensor:
    """Cross-entropy -sum_k t_k log softmax(output)_k. (N, K), targets -> (N,).

    Its gradient with respect to the outputs is softmax(output) - t.

    Args:
        smoothing: Fraction of the target distributed evenly over all classes (Szegedy et al. 2016).
        rubbish: j of an additional class that is never correct, with constant output -j. If the outputs are minus
            squared distances, the loss becomes y_D + log(e^-j + sum_k e^-y_k), equation 9 of LeCun et al. 1998: the
            correct code must be nearer than j, not only nearer than the others.
    """
    if rubbish is not None:
        extended = F.pad(outputs, (0, 1), value=-rubbish)
        return extended.logsumexp(1) - (_probabilities(targets, outputs.shape[1]) * outputs).sum(1)
    return F.cross_entropy(outputs, targets, reduction="none", label_smoothing=smoothing)


def binary_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of each logit, mean over the outputs. (N, K) or (N, 1), targets -> (N,)."""
    wanted = _class_one(targets)[:, None] if outputs.shape[1] == 1 else _probabilities(targets, outputs.shape[1])
    return F.binary_cross_entropy_with_logits(outputs, wanted.to(outputs.dtype), reduction="none").mean(1)


def focal(outputs: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Focal loss -sum_k t_k (1 - p_k)^gamma log p_k, p = softmax(output): easy samples count less. (N, K) -> (N,).

    The softmax form of Lin et al., "Focal Loss for Dense Object Detection", 2017; gamma 0 is cross-entropy.
    """
    log_p = F.log_softmax(outputs, dim=1)
    if targets.dtype == torch.long:
        log_p = log_p.gather(1, targets[:, None])
        targets = torch.ones_like(log_p)
    rest = (-log_p.expm1()).clamp(min=1e-12)  # 1 - p; the slope of a power below 1 is infinite at 0
    return -(targets * rest**gamma * log_p).sum(1)


def perceptron(outputs: Tensor, targets: Tensor) -> Tensor:
    """Perceptron loss: margin by which the correct class loses, 0 if it wins. (N, K) or (N, 1), targets -> (N,).

    One output: max(0, -y output) with y = -1 or +1; gradient descent on it with batches of one sample is Rosenblatt's
    rule (1958). A tie counts as a mistake: unlike relu the gradient is non-zero at 0, so that training can start from
    zero weights. Several outputs: max(0, max_{j != y} o_j - o_y), equal to max_j o_j - o_y.
    """
    if outputs.shape[1] == 1:
        deficit = (1 - 2 * _class_one(targets).to(outputs.dtype)) * outputs[:, 0]
        return torch.where(deficit >= 0, deficit, 0)
    return outputs.amax(1) - (_probabilities(targets, outputs.shape[1]) * outputs).sum(1)


def brier(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the squared error of the probabilities, 1/2 sum_k (softmax(output)_k - t_k)^2. (N, K), targets -> (N,).

    Brier, "Verification of forecasts expressed in terms of probability", 1950. Its gradient with respect to the outputs
    has the factor p_k (softmax's slope) and vanishes where the network is confidently wrong; cross-entropy's does not.
    A single output (N, 1) is the logit of class 1.
    """
    if outputs.shape[1] == 1:
        outputs = torch.cat([torch.zeros_like(outputs), outputs], 1)
    return 0.5 * (outputs.softmax(1) - _probabilities(targets, outputs.shape[1])).square().sum(1)


def margin(outputs: Tensor, targets: Tensor, margin: float) -> Tensor:
    """Multi-class margin loss sum_{i != y} max(0, margin - (o_y - o_i)). (N, K) or (N, 1), targets -> (N,).

    Weston and Watkins, "Support vector machines for multi-class pattern recognition", 1999; K times
    `torch.nn.MultiMarginLoss`. One output: the hinge loss max(0, margin - y output) with y = -1 or +1. Mixed targets
    weight the losses of their classes.
    """
    if outputs.shape[1] == 1:
        p = _class_one(targets).to(outputs.dtype)
        return p * F.relu(margin - outputs[:, 0]) + (1 - p) * F.relu(margin + outputs[:, 0])
    if targets.dtype == torch.long:
        differences = outputs - outputs.gather(1, targets[:, None])
        return F.relu(margin + differences).sum(1) - margin  # the sum counts i = y too
    each = F.relu(margin + (outputs[:, None, :] - outputs[:, :, None])).sum(2) - margin
    return (targets * each).sum(1)


def _probabilities(targets: Tensor, classes: int) -> Tensor:
    """Return class probabilities (N, K) of class indices or class probabilities."""
    return F.one_hot(targets, classes) if targets.dtype == torch.long else targets


def _class_one(targets: Tensor) -> Tensor:
    """Return the probability of class 1, (N,), from indices (N,), from (N, 1) or from probabilities (N, 2)."""
    return targets if targets.ndim == 1 else targets[:, -1]


@dataclass(frozen=True)
class Loss:
    """One entry of LOSSES.

    Args:
        function: (outputs, targets, **options) -> losses (N,).
        description: One line for listings.
        targets: Types of the targets it takes, see `TaskSpec`.
        options: Fields of LossConfig that `function` takes.
    """

    function: Callable[..., Tensor]
    description: str
    targets: tuple[Targets, ...]
    options: tuple[str, ...] = ()


LOSSES: dict[str, Loss] = {
    "cross-entropy": Loss(cross_entropy, "-log p of the correct class", ("class", "map"), ("smoothing", "rubbish")),
    "binary-cross-entropy": Loss(binary_cross_entropy, "binary cross-entropy of each class", ("class", "labels")),
    "focal": Loss(focal, "cross-entropy with a smaller weight for easy samples", ("class", "map"), ("gamma",)),
    "perceptron": Loss(perceptron, "margin by which the correct class loses against the best one", ("class",)),
    "margin": Loss(margin, "margin by which each other class comes too close", ("class",), ("margin",)),
    "brier": Loss(brier, "half the squared error of the probabilities", ("class",)),
    "squared": Loss(squared, "half the squared error, of classes against 0 and 1", ("numbers", "class")),
    "absolute": Loss(absolute, "absolute error: less sensitive to outliers", ("numbers",)),
    "huber": Loss(huber, "squared error up to delta, absolute error beyond", ("numbers",), ("delta",)),
    "dice": Loss(dice, "1 - Dice coefficient of each class present: overlap, not pixels", ("map",)),
    "dice-cross-entropy": Loss(dice_cross_entropy, "sum of the Dice loss and the cross-entropy", ("map",)),
    "lovasz": Loss(lovasz, "Lovász-Softmax: the IoU itself, extended to probabilities", ("map",)),
}


def build_loss(
    config: LossConfig, class_counts: Tensor | None = None, task: TaskName | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """Build the loss named by a config: (outputs, targets) -> losses (N,), float32.

    With class weights the loss of a sample is multiplied by the weight of its class.

    Args:
        class_counts: Training samples of each class, (K,); None for tasks without exclusive classes.
        task: Name of the task; a loss of another task is refused.

    Raises:
        Refusal: Unknown loss, a loss of another task, or settings that it does not take.
    """
    if is_own(config.name):
        return _own_loss(config)
    loss = LOSSES[one_of("loss", str(config.name), LOSSES, message("learning.wanted.known_loss", "a known loss"))]
    if task is not None and TASKS[task].targets not in loss.targets:
        fitting = [name for name, other in LOSSES.items() if TASKS[task].targets in other.targets]
        raise refusal(
            "loss",
            message("learning.wanted.loss_task", "a loss for the task {task}", task=task),
            config.name,
            do=message("learning.do.choose", "choose from {fitting}", fitting=", ".join(fitting)),
        )
    if config.smoothing and "smoothing" not in loss.options:
        raise refusal(
            "loss.smoothing",
            message("learning.wanted.losses", "0 with {name}", name=config.name),
            config.smoothing,
            do=message("learning.do.use_loss_cross_entropy", "use --loss cross-entropy"),
        )
    if config.rubbish is not None and (config.smoothing or "rubbish" not in loss.options):
        raise refusal(
            "loss.rubbish",
            message(
                "learning.wanted.omitted_unless_loss_cross",
                "omitted unless the loss is cross-entropy without smoothing",
            ),
            config.rubbish,
        )
    options = {option: getattr(config, option) for option in loss.options}
    if task is not None and TASKS[task].targets == "map":
        return _pixel_loss(config, loss, options, class_counts)
    function = partial(loss.function, **options)
    if config.class_weights is None:
        return lambda outputs, targets: function(outputs.float(), targets)

    if "class" not in loss.targets or class_counts is None:
        raise refusal(
            "loss.class_weights",
            message("learning.wanted.omitted_if_exclusive_classes", "omitted if there are no exclusive classes"),
            config.class_weights,
        )
    weights = class_weights(config.class_weights, class_counts)

    def weighted(outputs: Tensor, targets: Tensor) -> Tensor:
        per_class = weights.to(outputs.device, non_blocking=True)
        per_sample = per_class[targets] if targets.dtype == torch.long else targets @ per_class
        return per_sample * function(outputs.float(), targets)

    return weighted


def _pixel_loss(
    config: LossConfig, loss: Loss, options: dict[str, Any], pixels: Tensor | None
) -> Callable[[Tensor, Tensor], Tensor]:
    """Loss of label maps. pixels: number of training pixels of each class, (K,)."""
    if options.get("rubbish") is not None:
        raise refusal(
            "loss.rubbish", message("learning.wanted.omitted_semantic", "omitted for --task semantic"), config.rubbish
        )
    weights = None
    if config.class_weights is not None:
        if "class" not in loss.targets or pixels is None:
            omitted = message("learning.wanted.omitted_with", "omitted with {loss}", loss=config.name)
            raise refusal("loss.class_weights", omitted, config.class_weights)
        weights = class_weights(config.class_weights, pixels)
    if loss.function is cross_entropy:
        unbiased = config.class_weights == "root"
        function = partial(pixel_cross_entropy, smoothing=config.smoothing, weights=weights, unbiased=unbiased)
    elif "class" in loss.targets:
        function = per_pixel(partial(loss.function, **options), weights)
    else:
        function = loss.function
    return lambda outputs, targets: function(outputs.float(), targets)


def _own_loss(config: LossConfig) -> Callable[[Tensor, Tensor], Tensor]:
    """The user's loss. Refusal for settings that belong to danlu's losses."""
    fresh = LossConfig(name=config.name)
    for name, value in vars(config).items():
        if value != getattr(fresh, name):
            raise refusal(
                f"loss.{name}", message("learning.wanted.left_out_loss_your", "left out with a loss of your own"), value
            )
    loss = find("loss", str(config.name))
    return lambda outputs, targets: loss(outputs.float(), targets)


def class_weights(wanted: str | tuple[float, ...], counts: Tensor) -> Tensor:
    """Return class weights (K,), float32, with mean 1 over the training samples.

    Args:
        wanted: "balanced" gives all classes the same total weight, N / (K n_k), and 0 to a class without samples;
            "root" gives them the square root of these weights, between balanced and none (of label maps see
            `pixel_cross_entropy`); or one number per class.
        counts: Training samples of each class, (K,).

    Raises:
        Refusal: A wrong number of weights, negative weights, or no weight above 0 for a class with samples.
    """
    counts = counts.detach().cpu().double()
    if isinstance(wanted, str):
        weights = torch.where(counts > 0, counts.clamp(min=1) ** (-0.5 if wanted == "root" else -1.0), 0.0)
    else:
        weights = torch.tensor(wanted, dtype=torch.float64)
        if len(weights) != len(counts):
            raise refusal(
                "loss.class_weights",
                message("learning.wanted.numbers_per_class", "{counts} numbers, one per class", counts=len(counts)),
                list(wanted),
            )
        if (weights < 0).any() or not (weights * counts).sum() > 0:
            raise refusal(
                "loss.class_weights",
                message(
                    "learning.wanted.least_above_some_class", "at least 0, and above 0 for some class with samples"
                ),
                list(wanted),
            )
    return (weights * counts.sum() / (weights * counts).sum()).float()

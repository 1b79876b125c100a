"""Loss at chance level of losses without a formula for it: the loss itself, called on the best constant answer.

Class weights, label smoothing, soft targets, a weight on the positive class and the less common losses change the loss
at chance level. The constant answer is derived from the targets seen so far (class frequencies, mean) and given to the
loss in place of the outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.loss.loss_kind import kind_of
from danlu.doctor.loss.loss_options import loss_options, summands
from danlu.doctor.observation.predictions import IGNORED
from danlu.doctor.observation.watched_model import Pass, WatchedModel

FIRST_CALLS = 4  # measured at each of these, then at the powers of two
# Options of a loss that the formula of progress.py does not cover.
CHANGING_OPTIONS = {"weight", "label_smoothing", "pos_weight"}
CONSTANT_KINDS = {"kl", "smooth_l1", "huber", "poisson", "gaussian", "hinge"}  # without a formula
MIN_PROBABILITY = 1e-4  # of a class without a label so far


class Chance(Instrument):
    """Write loss.chance."""

    name = "chance"
    kept = ("_calls", "_totals", "_sum", "_count")

    def start(self, watched: WatchedModel) -> None:
        self._calls = 0
        self._totals: Tensor | None = None  # weight of each class so far
        self._sum = self._count = 0.0

    def after_loss(self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> bool | None:
        known = call.notes.get("loss_by") in ("module", "function")
        paired = isinstance(outputs, Tensor) and isinstance(targets, Tensor) and outputs.shape[:1] == targets.shape[:1]
        if watched.last_call is None or not (call.grad and known and paired and self._is_due()):
            return None
        function, args, kwargs = watched.last_call
        kind = kind_of(function)
        options = loss_options(watched.last_call)
        soft = kind == "cross_entropy" and targets.is_floating_point()
        if kind is None or not (kind in CONSTANT_KINDS or soft or CHANGING_OPTIONS & options.keys()):
            return None
        constant = self._constant(kind, outputs, targets, options)
        if constant is None:
            return None
        watched.replaying = True
        try:
            value = called(kind, function, constant, targets, args, kwargs)
        finally:
            watched.replaying = False
        if options.get("reduction") == "sum":
            value = value / summands(outputs, targets, int(options.get("ignore_index", IGNORED)))
        watched.write_deferred("loss.chance", value.float().mean(), "", call.step)
        return True

    def _is_due(self) -> bool:
        self._calls += 1
        return self._calls <= FIRST_CALLS or not self._calls & (self._calls - 1)

    def _constant(self, kind: str, outputs: Tensor, targets: Tensor, options: dict[str, Any]) -> Tensor | None:
        """The best constant answer, of the shape of the outputs."""
        values = targets.detach()
        if kind in ("cross_entropy", "nll", "kl"):
            if outputs.dim() < 2:
                return None
            frequencies = self._class_frequencies(outputs, values, options)
            shape = [1, -1] + [1] * (outputs.dim() - 2)
            scores = frequencies.clamp(min=MIN_PROBABILITY).log().to(outputs.dtype)
            return scores.reshape(shape).expand_as(outputs)
        if kind == "hinge":
            return torch.zeros_like(outputs)
        self._sum, self._count = self._sum + float(values.float().sum()), self._count + values.numel()
        mean = self._sum / self._count
        if kind == "bce_logits":
            return torch.full_like(outputs, balanced_logit(mean, options))
        if kind == "poisson":
            return torch.full_like(outputs, max(mean, MIN_PROBABILITY)).log()
        return torch.full_like(outputs, mean)

    def _class_frequencies(self, outputs: Tensor, targets: Tensor, options: dict[str, Any]) -> Tensor:
        classes = outputs.shape[1]
        if targets.is_floating_point():
            counts = targets.movedim(1, -1).reshape(-1, classes).float().sum(0)
        else:
            labels = targets.reshape(-1)
            kept = labels[(labels != int(options.get("ignore_index", IGNORED))) & (labels >= 0) & (labels < classes)]
            counts = torch.bincount(kept, minlength=classes).float()
        weight = options.get("weight")
        if isinstance(weight, Tensor) and weight.shape == counts.shape:
            counts = counts * weight.detach().float()
        self._totals = counts if self._totals is None else self._totals + counts
        return self._totals / self._totals.sum().clamp(min=1e-12)


def balanced_logit(mean: float, options: dict[str, Any]) -> float:
    """Logit of the best constant probability for targets of this mean, with the weight of the positive class."""
    weight = options.get("pos_weight")
    times = float(weight.float().mean()) if isinstance(weight, Tensor) else 1.0
    yes, no = max(mean * times, MIN_PROBABILITY), max(1 - mean, MIN_PROBABILITY)
    return float(torch.tensor(yes / no).log())


def called(kind: str, function: Any, constant: Tensor, targets: Tensor, args: tuple, kwargs: dict) -> Tensor:
    """Loss of a constant answer. args, kwargs: of the last call, the outputs left out."""
    if kind == "gaussian" and len(args) > 2:  # the third argument is the predicted variance
        spread = torch.full_like(args[2], float(targets.detach().float().var(correction=0).clamp(min=1e-6)))
        return function(constant, args[1], spread, *args[3:], **kwargs)
    if args:
        return function(constant, *args[1:], **kwargs)
    return function(**{**kwargs, next(iter(kwargs)): constant})

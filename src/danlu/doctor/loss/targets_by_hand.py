"""Kind and targets of a loss written by hand that equals a usual one, as -(y * torch.log(p)).sum(1).mean() does.

The doctor is given no targets of such a loss. But autograd keeps them to compute the gradient, as the factor of a
product, the index of a choice or part of a difference. The kind is the usual loss whose value is the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.doctor.loss.by_hand import MAX_NODES, factor, residual_targets
from danlu.doctor.loss.graph import between
from danlu.doctor.observation.watched_model import Pass

TOLERANCE = 1e-3  # relative difference of two losses that count as equal
ROUNDING = 1e-4  # distance of a target from an integer that comes from subtracting it from the outputs
MIN_CHANCE = 1e-7  # probabilities are clamped there before the logarithm, as most programs do


class TargetsByHand:
    """Targets of the losses of one training: sought in the first steps, then read from the same place of the graph."""

    def __init__(self) -> None:
        self.kind: str | None = None
        self._place = 0  # of the targets among the candidates

    def read(self, call: Pass, loss: Tensor, outputs: Tensor, *, early: bool) -> Tensor | None:
        """Return the targets of a loss, detached, and note its kind; None if it is no usual loss of these outputs.

        Args:
            call: the pass of the outputs.
            early: one of the first steps, in which the loss is compared with the usual ones.
        """
        targets = self._read(loss, call.notes.get("output_node") or outputs.grad_fn, outputs, early)
        if targets is not None:
            call.notes["loss_kind"] = self.kind
        return targets

    def _read(self, loss: Tensor, node: Any, outputs: Tensor, early: bool) -> Tensor | None:
        if node is None or loss.grad_fn is None or (self.kind is None and not early) or loss.numel() != 1:
            return None
        if not outputs.is_floating_point():
            return None
        for place, targets in enumerate(_candidates(loss.grad_fn, node, outputs.detach())):
            if early:
                kind = equal_loss(loss.detach(), outputs.detach().float(), targets)
                if kind is not None and self.kind in (None, kind):
                    self.kind, self._place = kind, place
                    return targets
            elif place == self._place:
                return targets
        return None


def _candidates(loss: Any, node: Any, outputs: Tensor) -> Iterator[Tensor]:
    """Iterate over tensors of the graph that may be the targets of the outputs."""
    residual = residual_targets(loss, node, outputs)
    if residual is not None:
        whole = residual.round()
        yield torch.where((residual - whole).abs() < ROUNDING, whole, residual)
    for one in between(loss, node, MAX_NODES):
        name = one.name()
        if name == "MulBackward0":
            labels = factor(one)
            if labels is not None and labels.is_floating_point() and labels.numel() == outputs.numel() > 1:
                yield (-labels if bool((labels <= 0).all()) else labels).detach().reshape(outputs.shape)
        elif name in ("GatherBackward0", "IndexBackward0"):
            picked = _picked(one)
            if picked is not None and outputs.dim() == 2 and picked.numel() == len(outputs):
                yield picked.detach().reshape(-1)


def _picked(node: Any) -> Tensor | None:
    """Column that is picked for each row, y in p[range(n), y] and p.gather(1, y[:, None]); None if it was freed."""
    try:
        if node.name() == "GatherBackward0":
            return node._saved_index if node._saved_dim in (1, 2**64 - 1) else None
        rows, columns = node._saved_indices
    except (RuntimeError, ValueError, AttributeError):
        return None
    if rows is None or columns is None or columns.is_floating_point() or columns.dtype == torch.bool:
        return None
    return columns if torch.equal(rows.cpu(), torch.arange(len(columns))) else None


def equal_loss(loss: Tensor, outputs: Tensor, targets: Tensor) -> str | None:
    """Kind of the usual loss of these outputs and targets that has this value; None if none has."""
    value = float(loss)
    if not math.isfinite(value) or value == 0:
        return None
    targets = targets.float() if targets.is_floating_point() else targets
    for kind, compute in _usual(outputs, targets).items():
        if math.isclose(float(compute(outputs, targets)), value, rel_tol=TOLERANCE):
            return kind
    return None


def _usual(outputs: Tensor, targets: Tensor) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Usual losses for targets of this type and outputs of this range."""
    if not targets.is_floating_point():
        if int(targets.min()) < 0 or int(targets.max()) >= outputs.shape[1]:
            return {}
        return {"nll": F.nll_loss, "cross_entropy": F.cross_entropy} | (
            {"probabilities": _of_chosen} if bool((outputs >= 0).all()) else {}
        )
    fractions = bool(((targets >= 0) & (targets <= 1)).all())
    usual: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}
    if bool(((outputs >= 0) & (outputs <= 1)).all()):
        usual["bce"] = _of_both
    if fractions and bool((outputs >= 0).all()):
        usual |= {"probabilities": _of_all, "normalised": _of_normalised}
    if fractions:
        usual["bce_logits"] = F.binary_cross_entropy_with_logits
    if fractions and outputs.dim() == 2 and outputs.shape[1] > 1:
        usual["cross_entropy"] = F.cross_entropy
    return usual | {"mse": F.mse_loss, "l1": F.l1_loss}


def _of_chosen(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy of class numbers and probabilities."""
    return -outputs.gather(1, targets[:, None]).clamp(min=MIN_CHANCE).log().mean()


def _of_all(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy of one-hot vectors and probabilities, or a binary one that leaves out the zeros."""
    return -(targets * outputs.clamp(min=MIN_CHANCE).log()).flatten(1).sum(1).mean()


def _of_both(outputs: Tensor, targets: Tensor) -> Tensor:
    """Binary cross entropy of probabilities, also for targets that are no probabilities."""
    yes, no = (one.clamp(min=MIN_CHANCE).log() for one in (outputs, 1 - outputs))
    return -(targets * yes + (1 - targets) * no).mean()


def _of_normalised(outputs: Tensor, targets: Tensor) -> Tensor:
    """The same of outputs that are divided by their sum."""
    return _of_all(outputs / outputs.sum(-1, keepdim=True).clamp(min=MIN_CHANCE), targets)

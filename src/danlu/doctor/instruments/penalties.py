"""Penalty on the weights that a loop adds to its loss: the part of the weights that it is computed from."""

from __future__ import annotations

from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.loss.graph import leaves
from danlu.doctor.observation.watched_model import Pass, WatchedModel

FIRST_STEPS = 4  # in one of which the penalty must be added
# Operations that sums of absolute values, squares and norms consist of. No product of matrices: the outputs have one.
OF_PENALTIES = {
    "AbsBackward0", "PowBackward0", "MulBackward0", "DivBackward0", "AddBackward0", "SqrtBackward0", "DotBackward0",
    "SumBackward0", "SumBackward1", "MeanBackward0", "MeanBackward1", "NormBackward0", "NormBackward1",
    "LinalgVectorNormBackward0", "StackBackward0", "CatBackward0", "ViewBackward0", "ReshapeAliasBackward0",
    "UnsafeViewBackward0", "UnsqueezeBackward0", "ToCopyBackward0",
}  # fmt: skip


class Penalties(Instrument):
    """Write loss.penalised."""

    name = "penalties"

    def backward_called(self, watched: WatchedModel, call: Pass, loss: Tensor) -> bool | None:
        if watched.step > FIRST_STEPS or watched.ledger.has("loss.penalised"):
            return None
        if watched.ledger.last("loss.terms", default=1) < 2:
            return None
        sizes = {id(p): p.numel() for p in watched.parameters.values() if p.requires_grad}
        found = sum(sizes.get(id(one), 0) for one in leaves(loss.grad_fn, OF_PENALTIES))
        watched.write("loss.penalised", found / max(1, sum(sizes.values())))
        return True

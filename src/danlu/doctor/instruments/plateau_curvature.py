"""Curvature on a plateau: the extreme eigenvalues of the Hessian on the last batch, measured only if training stalls.

A plateau is a change of the mean loss by less than half a percent from one epoch to the next. About twenty
Hessian-vector products give the extreme eigenvalues; their cost is predicted from the time of a step, and nothing is
measured if it exceeds the budget.
"""

from __future__ import annotations

import math
from statistics import median
from typing import Any

import torch
from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.instruments.modes import may_replay, undisturbed
from danlu.doctor.observation.watched_model import Pass, WatchedModel

MAX_PLATEAU_CHANGE = 0.005  # relative change of the loss between epochs
MAX_SAMPLES = 256
PRODUCTS = 20  # Hessian-vector products
STEPS_PER_PRODUCT = 4  # cost of a product, or of the graph, in training steps on the same number of samples
BUDGET_FRACTION = 0.05  # of the time of the doctor


class PlateauCurvature(Instrument):
    """Write point.*"""

    name = "plateau_curvature"

    def start(self, watched: WatchedModel) -> None:
        self._last: Pass | None = None

    def settled(self, watched: WatchedModel, call: Pass) -> None:
        if call.kind == "train" and "replay" in call.notes:
            self._last = call

    def end_training(self, watched: WatchedModel) -> bool | None:
        call, self._last = self._last, None
        if call is None or not self._is_plateau(watched) or not watched.replayable:
            return None
        if not may_replay(watched.inner) or any(p._backward_hooks for p in watched.parameters.values()):
            return None
        if not self._affordable(watched, call):
            return None
        with undisturbed(watched):
            try:
                found = ends_of_spectrum(watched.inner, call)
            # An operation without second derivative, out of memory, or NaN.
            except (RuntimeError, NotImplementedError, ValueError) as error:
                watched.mark_unobservable("curvature", f"{type(error).__name__}: {error}".splitlines()[0])
                return None
        for name, value in (found or {}).items():
            watched.write(f"point.{name}", value, step=watched.epoch)
        return True

    def finish(self, watched: WatchedModel) -> None:
        self._last = None

    def _is_plateau(self, watched: WatchedModel) -> bool:
        losses = watched.ledger.values("loss.mean", "train")[-2:]
        if len(losses) < 2 or not all(map(math.isfinite, losses)):
            return False
        return abs(losses[1] - losses[0]) < MAX_PLATEAU_CHANGE * abs(losses[0])

    def _affordable(self, watched: WatchedModel, call: Pass) -> bool:
        times = watched.ledger.values("time.step")[-32:]
        if not times:
            return False
        fraction = min(1.0, MAX_SAMPLES / max(1, call.size))
        cost = (PRODUCTS + 3) * STEPS_PER_PRODUCT * median(times) * fraction
        spent = watched.budget.spent[self.name]
        return spent + cost <= BUDGET_FRACTION * watched.budget.fraction * watched.budget.elapsed


def ends_of_spectrum(model: torch.nn.Module, call: Pass) -> dict[str, Any] | None:
    """Return extreme eigenvalues, loss, gradient norm and kind of point; None if the loss cannot be called again."""
    from danlu.doctor.curvature.hvp import Hessian
    from danlu.doctor.curvature.lanczos import eigenpairs, random_vector
    from danlu.doctor.curvature.objective import Objective
    from danlu.doctor.curvature.point import kind_of_point

    function, args, kwargs = call.notes["replay"]
    if not args or call.kwargs:
        return None
    first = lambda t: t[:MAX_SAMPLES] if isinstance(t, Tensor) and t.dim() else t  # noqa: E731
    inputs, others = tuple(map(first, call.args)), tuple(map(first, args[1:]))
    named = {key: first(value) for key, value in kwargs.items()}
    objective = Objective(model, lambda outputs, rest: function(outputs, *rest, **named), [(inputs, others)])
    hessian = Hessian(objective)
    start = random_vector(hessian.gradient, torch.Generator().manual_seed(0))
    highest, lowest, _ = eigenpairs(hessian.product, start, bottom=1, tolerance=0.05, steps=PRODUCTS)
    low, high, norm = lowest[0].value, highest[0].value, hessian.gradient.norm().item()
    length = objective.weights().norm().item()
    rounding = 1e-5 * max(abs(low), abs(high))
    kind = kind_of_point(hessian.loss, norm, low, high, weights_norm=length, rounding=rounding)
    return {"lowest": low, "highest": high, "loss": hessian.loss, "gradient": norm, "kind": kind}

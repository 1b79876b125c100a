"""`danlu.curvature`: the curvature of a training loss at the current weights."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from danlu.doctor.curvature.density import (
    Density,
    Estimate,
    SignFractions,
    Spectrum,
    estimated_spectrum,
    exact_spectrum,
    hutch_plus_plus,
    probe,
)
from danlu.doctor.curvature.hvp import Hessian
from danlu.doctor.curvature.lanczos import Eigenpair, eigenpairs, random_vector
from danlu.doctor.curvature.landscape import (
    Landscape,
    LandscapeDirections,
    Snapshot,
    path_directions,
    random_directions,
)
from danlu.doctor.curvature.landscape import landscape as draw_landscape
from danlu.doctor.curvature.objective import LossFunction, Objective
from danlu.doctor.curvature.point import KIND_TEXT, Kind, NegativeCurvatureStep, best_step_along, kind_of_point
from danlu.message import message
from danlu.refuse import refusal

MAX_EXACT_SIZE = 128  # parameters up to which the full Hessian is computed
PROBES, PROBE_STEPS, TRACE_PRODUCTS = 4, 40, 30  # with density=True
DIRECTIONS = ("random", "eigenvectors", "path")


@dataclass(frozen=True)
class Curvature:
    """Result of `curvature`. Eigenvalues are those of the mean loss per sample, in units of loss / weight^2.

    Attributes:
        top, bottom: largest eigenpairs, descending, and smallest, ascending.
        sign_fractions: fractions of positive (the minimum ratio), negative and flat eigenvalues.
        kind: kind of point.
        negative_curvature: step along the most negative direction; None if no negative curvature was found.
        exact: whether the full Hessian was computed.
    """

    loss: float
    samples: int
    parameters: int
    gradient_norm: float
    top: list[Eigenpair]
    bottom: list[Eigenpair]
    sign_fractions: SignFractions
    trace: Estimate
    kind: Kind
    negative_curvature: NegativeCurvatureStep | None
    density: Density | None
    landscape: Landscape | None
    lr: float | None
    momentum: float
    products: int
    seconds: float
    exact: bool

    @property
    def sharpness(self) -> float:
        """The largest eigenvalue."""
        return self.top[0].value

    @property
    def minimum_ratio(self) -> Estimate:
        """Fraction of positive eigenvalues; flat ones (see `sign_fractions`) do not count as positive."""
        return Estimate(self.sign_fractions.positive, self.sign_fractions.error)

    @property
    def shares(self) -> SignFractions:
        """Former name of `sign_fractions`."""
        return self.sign_fractions

    @property
    def escape(self) -> NegativeCurvatureStep | None:
        """Former name of `negative_curvature`."""
        return self.negative_curvature

    @property
    def limit(self) -> float | None:
        """Max sharpness for stable full-batch gradient descent: 2 / lr, with momentum 2 (1 + momentum) / lr."""
        return None if self.lr is None else 2 * (1 + self.momentum) / self.lr

    def __str__(self) -> str:
        fractions, step = self.sign_fractions, self.negative_curvature
        lines = [
            f"{self.kind}: {KIND_TEXT[self.kind]}",
            f"loss {self.loss:.5g} on {self.samples:,} samples, gradient norm {self.gradient_norm:.3g}, "
            f"{self.parameters:,} parameters",
            f"largest eigenvalues {_values(self.top)}; smallest {_values(self.bottom)}",
            f"minimum ratio {self.minimum_ratio}: {fractions.positive:.1%} positive, "
            f"{fractions.negative:.1%} negative, {fractions.flat:.1%} zero"
            + ("" if self.exact else " or not distinguished from zero")
            + f"; trace {self.trace}",
        ]
        if self.limit is not None:
            side = "above it: steps overshoot" if self.sharpness > self.limit else "below it"
            lines.append(
                f"sharpness {self.sharpness:.4g} against a limit of {self.limit:.4g} at lr {self.lr:g}: {side}"
            )
        if step is not None and step.lowers:
            lines.append(
                f"a step of {step.step:.3g} along the most negative direction lowers the loss by {step.drop:.3g}"
            )
        elif step is not None:
            lines.append("no step along the most negative direction lowers the loss measurably")
        lines.append(f"{self.products} Hessian-vector products, {self.seconds:.2g} s")
        return "\n".join(lines)


def curvature(
    model: nn.Module,
    loss_fn: LossFunction,
    batches: Iterable[Any],
    *,
    top: int = 1,
    bottom: int = 1,
    tolerance: float = 0.01,
    steps: int = 100,
    lr: float | None = None,
    momentum: float = 0.0,
    density: bool = False,
    landscape: bool | LandscapeDirections = False,
    path: Sequence[Snapshot] = (),
    memory: int | None = None,
    seed: int = 0,
) -> Curvature:
    """Compute the curvature of the mean loss over `batches`, with the model in its current mode.

    The model, its `.grad` and all random generators are not changed.

    Args:
        model: differentiated with respect to its trainable parameters.
        loss_fn: (outputs, targets) -> mean loss of a batch.
        batches: pairs (inputs, targets), all used; a few hundred to a few thousand samples are enough.
        top, bottom: number of eigenvalues at each end.
        tolerance: relative error of the eigenvalues.
        steps: max number of Hessian-vector products for them.
        lr, momentum: of gradient descent, to compare the sharpness with 2/lr.
        density: use more directions, for the density and better estimates of fractions and trace.
        landscape: loss over a plane, in "random" directions (True), the top two "eigenvectors" or along the "path".
        path: snapshots of the weights, as flat vectors or state dicts.
        memory: max bytes of kept graphs.
        seed: random seed of directions and forward passes.

    Raises:
        Refusal: an argument is wrong, or the loss is not finite.
    """
    _check(top, bottom, tolerance, steps, lr, landscape)
    start_time = time.perf_counter()
    objective = Objective(model, loss_fn, batches, seed=seed)
    hessian = Hessian(objective, memory=memory)
    norm = hessian.gradient.norm().item()
    plane = "random" if landscape is True else landscape
    wanted = max(top, 2) if plane == "eigenvectors" else top
    highest, lowest, spectrum = _spectrum(hessian, wanted, bottom, tolerance, steps, density, seed)
    trace = spectrum.trace()
    if density and not spectrum.exact:
        trace = hutch_plus_plus(hessian.product, hessian.gradient, products=TRACE_PRODUCTS, seed=seed + 2)
    worst = lowest[0]
    kind = kind_of_point(
        hessian.loss,
        norm,
        worst.value,
        highest[0].value,
        weights_norm=objective.weights().norm().item(),
        rounding=spectrum.rounding,
    )
    step = None
    if worst.value < -spectrum.rounding:
        step = best_step_along(objective, worst.vector, worst.value)
    surface = _landscape(objective, plane, [pair.vector for pair in highest[:2]], path, seed) if plane else None
    return Curvature(
        loss=hessian.loss,
        samples=objective.count,
        parameters=objective.size,
        gradient_norm=norm,
        top=highest[:top],
        bottom=lowest[:bottom],
        sign_fractions=spectrum.sign_fractions(),
        trace=trace,
        kind=kind,
        negative_curvature=step,
        density=spectrum.density() if density else None,
        landscape=surface,
        lr=lr,
        momentum=momentum,
        products=hessian.products,
        seconds=time.perf_counter() - start_time,
        exact=spectrum.exact,
    )


def _landscape(
    objective: Objective, plane: LandscapeDirections, eigenvectors: list[Tensor], path: Sequence[Snapshot], seed: int
) -> Landscape:
    """Compute the loss over a plane around the weights. eigenvectors: those of the two largest eigenvalues."""
    if plane == "random":
        return draw_landscape(objective, random_directions(objective, seed=seed), span=1.0, path=path)
    directions = eigenvectors if plane == "eigenvectors" else path_directions(objective, path)
    return draw_landscape(objective, directions, span=_reach(objective), path=path)


def sharpness(
    model: nn.Module, loss_fn: LossFunction, batches: Iterable[Any], *, tolerance: float = 0.01, seed: int = 0
) -> Eigenpair:
    """Compute only the largest eigenvalue, to a relative `tolerance`; usually takes about six products."""
    hessian = Hessian(Objective(model, loss_fn, batches, seed=seed))
    start = random_vector(hessian.gradient, torch.Generator().manual_seed(seed))
    return eigenpairs(hessian.product, start, tolerance=tolerance, seed=seed)[0][0]


def _spectrum(
    hessian: Hessian, top: int, bottom: int, tolerance: float, steps: int, density: bool, seed: int
) -> tuple[list[Eigenpair], list[Eigenpair], Spectrum]:
    """Compute at least one eigenpair at each end, and the spectrum.

    The iteration starts in a random direction, so that it also samples the whole spectrum.
    """
    if hessian.size <= MAX_EXACT_SIZE:
        spectrum, values, vectors = exact_spectrum(hessian.matrix())
        columns = torch.from_numpy(vectors).to(hessian.gradient)
        pairs = [Eigenpair(float(v), 0.0, columns[:, i]) for i, v in enumerate(values)]
        return pairs[::-1][: max(top, 1)], pairs[: max(bottom, 1)], spectrum
    start = random_vector(hessian.gradient, torch.Generator().manual_seed(seed))
    highest, lowest, seen = eigenpairs(
        hessian.product, start, top=max(top, 1), bottom=max(bottom, 1), tolerance=tolerance, steps=steps, seed=seed
    )
    more = []
    if density:
        more = probe(hessian.product, hessian.gradient, probes=PROBES, steps=PROBE_STEPS, seed=seed + 1)
    return highest, lowest, estimated_spectrum(more or [seen])


def _reach(objective: Objective) -> float:
    """Half the width of a plane along unit vectors: a tenth of the norm of the weights."""
    return 0.1 * max(objective.weights().norm().item(), 1.0)


def _check(top: int, bottom: int, tolerance: float, steps: int, lr: float | None, landscape: object) -> None:
    for name, count, min_value in (("top", top, 1), ("bottom", bottom, 1), ("steps", steps, 2)):
        if isinstance(count, bool) or not isinstance(count, int) or count < min_value:
            raise refusal(
                name, message("doctor.wanted.integer", "an integer >= {min_value}", min_value=min_value), count
            )
    if not 0 < tolerance < 1:
        raise refusal("tolerance", message("doctor.wanted.between", "between 0 and 1"), tolerance)
    if lr is not None and not (0 < lr < math.inf):
        raise refusal("lr", message("doctor.wanted.positive_number", "a positive number"), lr)
    if landscape is not False and landscape is not True and landscape not in DIRECTIONS:
        raise refusal(
            "landscape",
            message("doctor.wanted.true_false_kind_directions", "True, False or a kind of directions"),
            landscape,
            near=DIRECTIONS,
        )


def _values(pairs: list[Eigenpair]) -> str:
    return ", ".join(f"{pair.value:.4g}" for pair in pairs)

"""Distribution of the eigenvalues of a Hessian: stochastic Lanczos quadrature, fractions by sign, moments and trace.

In a random direction v, an eigenvalue with eigenvector u has weight (v . u)^2, on average 1/P. Lanczos from v gives a
few nodes and weights with the same first 2m moments (Gauss quadrature; Ubaru, Chen and Saad, 2017; Ghorbani, Krishnan
and Xiao, 2019). For the fractions by sign one node is fixed at zero (Gauss-Radau; Golub, 1973): by the inequalities of
Chebyshev, Markov and Stieltjes the true weight above zero then lies between the weight of the positive nodes and that
plus the weight of the node at zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from danlu.doctor.curvature.lanczos import Krylov, Product, lanczos, random_vector, tridiagonal

ROUNDING = 100  # eigenvalues up to this many machine epsilons of the largest magnitude count as zero
Nodes = tuple[np.ndarray, np.ndarray]  # eigenvalues (m) and their weights (m), which sum to 1


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error; 0 if the value is exact."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.4g}" + (f" ± {self.error:.2g}" if self.error else "")


@dataclass(frozen=True)
class SignFractions:
    """Fractions of all P eigenvalues by sign; they sum to 1.

    flat: zero within rounding, or not distinguished from zero by this number of products. error: standard error of the
    other two, due to the choice of directions.
    """

    positive: float
    negative: float
    flat: float
    error: float


@dataclass(frozen=True)
class Density:
    """Density of eigenvalues on a grid: `values` (n), `density` (n) per unit of the eigenvalue, integral 1."""

    values: np.ndarray
    density: np.ndarray
    width: float  # standard deviation of the Gaussian kernel


@dataclass(frozen=True)
class Spectrum:
    """Spectrum of P eigenvalues: all of them (`exact`), or one quadrature per random direction."""

    size: int
    gauss: list[Nodes]
    radau: list[Nodes]
    rounding: float  # magnitudes up to this count as zero
    exact: bool = False

    def sign_fractions(self) -> SignFractions:
        """Fractions by sign; variance of the weight of a random direction on a subspace: p(1-p) / (P/2 + 1)."""
        above, below = (
            float(np.mean([weights[sign * values > self.rounding].sum() for values, weights in self.radau]))
            for sign in (1, -1)
        )
        spread = max(above * (1 - above), below * (1 - below)) / (self.size / 2 + 1)
        error = 0.0 if self.exact else (max(spread, 0.0) / len(self.radau)) ** 0.5
        return SignFractions(above, below, max(1 - above - below, 0.0), error)

    def moment(self, power: int) -> float:
        """Mean of eigenvalue^power over all eigenvalues."""
        return float(np.mean([weights @ values**power for values, weights in self.gauss]))

    def trace(self) -> Estimate:
        """Sum of the eigenvalues (Hutchinson, 1990).

        For unit vectors the variance is 2P/(P+2) (|H|_F^2 - trace^2 / P) / number of directions.
        """
        trace = self.size * self.moment(1)
        spread = self.size * self.moment(2) - trace**2 / self.size
        variance = 2 * self.size / (self.size + 2) * max(spread, 0.0) / len(self.gauss)
        return Estimate(trace, 0.0 if self.exact else variance**0.5)

    def density(self, points: int = 1000, width: float | None = None) -> Density:
        """Density with a Gaussian kernel; width: its standard deviation, by default 1 % of the span of the spectrum."""
        everything = np.concatenate([values for values, _ in self.gauss])
        low, high = everything.min(), everything.max()
        if width is None:
            width = 0.01 * float(max(high - low, abs(high), 1e-12))
        grid = np.linspace(low - 4 * width, high + 4 * width, points)
        total = np.zeros(points)
        for values, weights in self.gauss:
            bells = np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2) / (width * (2 * np.pi) ** 0.5)
            total += bells @ weights / len(self.gauss)
        return Density(grid, total, float(width))


def exact_spectrum(matrix: Tensor) -> tuple[Spectrum, np.ndarray, np.ndarray]:
    """Return the spectrum of a Hessian (P, P), its eigenvalues, ascending (P,), and eigenvectors in columns (P, P)."""
    values, vectors = np.linalg.eigh(matrix.double().cpu().numpy())
    nodes = [(values, np.full(len(values), 1 / len(values)))]
    return Spectrum(len(values), nodes, nodes, _rounding(values, matrix), exact=True), values, vectors


def estimated_spectrum(seen: list[Krylov]) -> Spectrum:
    """Return the spectrum estimated by decompositions from random directions."""
    gauss, radau = [_gauss(krylov) for krylov in seen], [_radau(krylov) for krylov in seen]
    rounding = max(_rounding(values, krylov.basis) for (values, _), krylov in zip(gauss, seen))
    return Spectrum(seen[0].basis.shape[1], gauss, radau, rounding)


def probe(product: Product, like: Tensor, *, probes: int, steps: int, seed: int) -> list[Krylov]:
    """Compute decompositions of `steps` products each from `probes` random directions."""
    generator = torch.Generator().manual_seed(seed)
    return [lanczos(product, random_vector(like, generator), steps) for _ in range(probes)]


def hutch_plus_plus(product: Product, like: Tensor, *, products: int = 30, seed: int = 0) -> Estimate:
    """Estimate the trace by Hutch++ (Meyer, Musco, Musco and Woodruff, 2021), with an error of order 1/products.

    The trace on an approximate range of H is exact, the rest is estimated. products: at least 6, a third for each part.
    """
    generator = torch.Generator().manual_seed(seed)
    third, size = max(2, products // 3), len(like)
    if 3 * third >= size:
        unit = torch.eye(size, device=like.device, dtype=like.dtype)
        return Estimate(sum(torch.dot(row, product(row)).item() for row in unit), 0.0)
    sketch = torch.stack([product(random_vector(like, generator)) for _ in range(third)], 1)
    basis = torch.linalg.qr(sketch).Q.T  # (third, P)
    inside = sum(torch.dot(row, product(row)).item() for row in basis)
    rest = []
    for _ in range(third):
        vector = random_vector(like, generator)
        vector = vector - basis.T @ (basis @ vector)
        rest.append(torch.dot(vector, product(vector)).item())
    return Estimate(inside + float(np.mean(rest)), float(np.std(rest, ddof=1)) / third**0.5)


def _first_block(krylov: Krylov) -> tuple[list[float], list[float]]:
    """Entries of T before the first restart: the Krylov space of the start vector."""
    end = next((i + 1 for i, length in enumerate(krylov.off_diagonal) if length == 0), len(krylov.off_diagonal))
    return krylov.diagonal[:end], krylov.off_diagonal[:end]


def _gauss(krylov: Krylov) -> Nodes:
    diagonal, off_diagonal = _first_block(krylov)
    values, vectors = np.linalg.eigh(tridiagonal(diagonal, off_diagonal[:-1]))
    return values, vectors[0] ** 2


def _radau(krylov: Krylov) -> Nodes:
    """Gauss-Radau rule with a node at zero: T gets one more row, with a diagonal entry that makes it singular."""
    diagonal, off_diagonal = _first_block(krylov)
    values, vectors = np.linalg.eigh(tridiagonal(diagonal, off_diagonal[:-1]))
    if off_diagonal[-1] == 0 or np.abs(values).min() <= _rounding(values, krylov.basis):
        return values, vectors[0] ** 2  # the rule is exact, or has its node at zero already
    corner = off_diagonal[-1] ** 2 * float(np.sum(vectors[-1] ** 2 / values))
    values, vectors = np.linalg.eigh(tridiagonal([*diagonal, corner], off_diagonal))
    values[np.abs(values).argmin()] = 0.0
    return values, vectors[0] ** 2


def _rounding(values: np.ndarray, like: Tensor) -> float:
    return ROUNDING * torch.finfo(like.dtype).eps * float(np.abs(values).max(initial=0.0))

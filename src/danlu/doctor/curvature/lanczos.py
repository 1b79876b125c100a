"""Extreme eigenvalues of a symmetric linear map by the Lanczos method with full re-orthogonalisation.

In the Krylov space v, Hv, H^2 v, ... the map is a small tridiagonal matrix T whose extreme eigenvalues (Ritz values)
converge to those of the map (Golub and Van Loan, Matrix Computations, chapter 10). Ritz values never lie outside the
spectrum, so a negative one proves negative curvature, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Eigenpair:
    """Approximate eigenvalue and unit eigenvector (P,); an exact eigenvalue lies within residual = |Hv - value v|."""

    value: float
    residual: float
    vector: Tensor = field(repr=False)


@dataclass
class Krylov:
    """Lanczos decomposition: T (m, m) with `diagonal` (m) and `off_diagonal` (m), and basis (m, P).

    The last entry of `off_diagonal` couples to the rest of the space.
    """

    diagonal: list[float]
    off_diagonal: list[float]
    basis: Tensor
    block: int = 0  # start of the current block: T is block diagonal there

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return Ritz values, ascending (m), eigenvectors of T in columns (m, m), and residuals (m)."""
        values, vectors = np.linalg.eigh(tridiagonal(self.diagonal, self.off_diagonal[:-1]))
        return values, vectors, np.abs(self.off_diagonal[-1] * vectors[-1])


def tridiagonal(diagonal: list[float], off_diagonal: list[float]) -> np.ndarray:
    """Symmetric tridiagonal matrix (n, n) of its diagonal (n) and off-diagonal (n - 1)."""
    return np.diag(diagonal) + np.diag(off_diagonal, 1) + np.diag(off_diagonal, -1)


def lanczos(
    product: Product,
    start: Tensor,
    steps: int,
    *,
    stop: Callable[[Krylov], bool] = lambda _: False,
    generator: torch.Generator | None = None,
) -> Krylov:
    """Run the Lanczos iteration.

    Args:
        product: the linear map.
        start: start vector (P,), of any length.
        steps: max number of products.
        stop: called after each product; True ends the iteration.
        generator: in an invariant subspace, continue from a random orthogonal vector; without a generator, stop there.
    """
    size = len(start)
    krylov = Krylov([], [], start.new_empty(min(steps, size, 16), size))
    vector = start / start.norm()
    for step in range(min(steps, size)):
        if step == len(krylov.basis):
            krylov.basis = torch.cat([krylov.basis, torch.empty_like(krylov.basis)])
        krylov.basis[step] = vector
        basis = krylov.basis[: step + 1]
        image = product(vector)
        krylov.diagonal.append(torch.dot(vector, image).item())
        image = orthogonal(image, basis)
        length = image.norm().item()
        scale = max(map(abs, krylov.diagonal + krylov.off_diagonal))
        ended = length <= 10 * torch.finfo(image.dtype).eps * scale or step + 1 == size
        krylov.off_diagonal.append(0.0 if ended else length)
        if stop(krylov) or (ended and (generator is None or step + 1 == size)):
            break
        if ended:
            krylov.block = step + 1
            image = orthogonal(random_vector(image, generator), basis)
            length = image.norm().item()
        vector = image / length
    krylov.basis = krylov.basis[: len(krylov.diagonal)]
    return krylov


def orthogonal(vector: Tensor, basis: Tensor) -> Tensor:
    """Orthogonalise `vector` (P,) against the rows of `basis` (m, P), twice, which is enough (Kahan, Parlett)."""
    for _ in range(2):
        vector = vector - basis.T @ (basis @ vector)
    return vector


def random_vector(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return a standard normal vector, generated on the CPU so that it is the same on every device."""
    return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)


def eigenpairs(
    product: Product,
    start: Tensor,
    *,
    top: int = 1,
    bottom: int = 0,
    tolerance: float = 0.01,
    steps: int = 100,
    seed: int = 0,
) -> tuple[list[Eigenpair], list[Eigenpair], Krylov]:
    """Compute the extreme eigenpairs of a linear map.

    Args:
        product: the linear map.
        start: start vector (P,).
        top, bottom: number of eigenpairs at each end.
        tolerance: relative error of each value (relative to 1 % of the largest magnitude for smaller values).
        steps: max number of products; afterwards `residual` bounds the error of each value.

    Returns:
        The largest pairs, descending, the smallest, ascending, and the decomposition.
    """
    size = len(start)
    top, bottom = min(top, size), min(bottom, size)
    min_size = top + bottom + 2  # a shorter block may seem converged by accident

    def done(krylov: Krylov) -> bool:
        if len(krylov.diagonal) - krylov.block < min(min_size, size - krylov.block):
            return False
        values, _, residuals = krylov.ritz()
        wanted = _ends(len(values), top, bottom)
        if len(wanted) < min(top + bottom, size):
            return False
        scale = np.abs(values).max()
        allowed = tolerance * np.maximum(np.abs(values), scale / 100)
        return all(_error(values, residuals, i) <= allowed[i] for i in wanted)

    generator = torch.Generator().manual_seed(seed)
    krylov = lanczos(product, start, steps, stop=done, generator=generator)
    values, vectors, residuals = krylov.ritz()

    def pair(i: int) -> Eigenpair:
        mix = torch.from_numpy(np.ascontiguousarray(vectors[:, i])).to(krylov.basis)
        return Eigenpair(float(values[i]), float(residuals[i]), mix @ krylov.basis)

    count = len(values)
    highest = [pair(i) for i in range(count - 1, max(count - top, 0) - 1, -1)]
    lowest = [pair(i) for i in range(min(bottom, count))]
    return highest, lowest, krylov


def _ends(count: int, top: int, bottom: int) -> list[int]:
    return sorted({*range(max(count - top, 0), count), *range(min(bottom, count))})


def _error(values: np.ndarray, residuals: np.ndarray, i: int) -> float:
    """Error bound of Ritz value i: its residual, or residual^2 / gap (Kato-Temple) for an isolated largest magnitude.

    Not for other values: the gap is estimated from T, and at the edge of a dense part of the spectrum a Ritz value may
    stay near an inner eigenvalue for several steps.
    """
    scale, gap = np.abs(values).max(), np.delete(np.abs(values - values[i]), i).min(initial=np.inf)
    alone = abs(values[i]) == scale and gap >= scale / 4 and residuals[i] <= gap / 4
    return residuals[i] ** 2 / (gap - residuals[i]) if alone else residuals[i]

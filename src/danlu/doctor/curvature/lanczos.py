"""Eigenvalues at both ends of a symmetric linear map, by Lanczos' method with full re-orthogonalisation.

From a start vector the map is seen in the space of v, Hv, H^2 v, ...: there it is a small tridiagonal matrix T whose
extreme eigenvalues (Ritz values) tend to the map's own (Golub and Van Loan, Matrix Computations, chapter 10). Ritz
values never lie outside the spectrum, so a negative one is proof of negative curvature, up to rounding.
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
    """value: an eigenvalue; residual: |Hv - value v|, so an eigenvalue lies within it; vector: flat, of length 1."""

    value: float
    residual: float
    vector: Tensor = field(repr=False)


@dataclass
class Krylov:
    """T (m, m) with `diagonal` (m) and `beside` (m), the last of which couples to what lies outside; basis (m, P)."""

    diagonal: list[float]
    beside: list[float]
    basis: Tensor
    block: int = 0  # where the present block begins: T falls apart there

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ritz values, ascending (m), eigenvectors of T in columns (m, m), and residuals (m)."""
        values, vectors = np.linalg.eigh(tridiagonal(self.diagonal, self.beside[:-1]))
        return values, vectors, np.abs(self.beside[-1] * vectors[-1])


def tridiagonal(diagonal: list[float], beside: list[float]) -> np.ndarray:
    return np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)


def lanczos(
    product: Product,
    start: Tensor,
    steps: int,
    *,
    stop: Callable[[Krylov], bool] = lambda _: False,
    generator: torch.Generator | None = None,
) -> Krylov:
    """At most `steps` products from `start` (P,), which need not have length 1; `stop` is asked after each.

    generator: where the vectors within reach of the start are used up (an invariant space), go on from a random one at
    right angles to them; without a generator, end there.
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
        scale = max(map(abs, krylov.diagonal + krylov.beside))
        ended = length <= 10 * torch.finfo(image.dtype).eps * scale or step + 1 == size
        krylov.beside.append(0.0 if ended else length)
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
    """`vector` (P,) without its parts along the rows of `basis` (m, P); twice is enough (Kahan, Parlett)."""
    for _ in range(2):
        vector = vector - basis.T @ (basis @ vector)
    return vector


def random_vector(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal, drawn on the processor so that every device gets the same."""
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
    """The `top` largest eigenvalues, falling, and the `bottom` smallest, rising, with vectors; and the decomposition.

    start: (P,). tolerance: of each value, relative to itself (below a hundredth of the largest magnitude: to that).
    At most `steps` products: after that `residual` tells how far each is.
    """
    size = len(start)
    top, bottom = min(top, size), min(bottom, size)
    least = top + bottom + 2  # a shorter block can look finished by accident

    def done(krylov: Krylov) -> bool:
        if len(krylov.diagonal) - krylov.block < min(least, size - krylov.block):
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
    """How far Ritz value i may be from its eigenvalue: its residual, or residual^2 / gap (Kato and Temple) where it is
    the largest of all in magnitude and stands alone. Not elsewhere: the gap is what T shows of it, and at the edge of a
    dense part of the spectrum a Ritz value rests on an inner eigenvalue for a while."""
    scale, gap = np.abs(values).max(), np.delete(np.abs(values - values[i]), i).min(initial=np.inf)
    alone = abs(values[i]) == scale and gap >= scale / 4 and residuals[i] <= gap / 4
    return residuals[i] ** 2 / (gap - residuals[i]) if alone else residuals[i]

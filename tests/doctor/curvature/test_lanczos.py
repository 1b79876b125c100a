"""Extreme eigenvalues of known spectra."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from curvature_problems import full_hessian, small_net
from torch.nn import functional as F

from danlu.doctor.curvature.hvp import Hessian
from danlu.doctor.curvature.lanczos import eigenpairs, lanczos, random_vector
from danlu.doctor.curvature.objective import Objective


def matrix(eigenvalues: list[float], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(len(eigenvalues), len(eigenvalues), generator=generator, dtype=torch.float64)).Q
    return turn @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ turn.T


def start(size: int, seed: int = 1) -> torch.Tensor:
    return random_vector(torch.empty(size, dtype=torch.float64), torch.Generator().manual_seed(seed))


def test_extreme_eigenvalues_equal_those_of_the_full_hessian() -> None:
    net, x, y = small_net()
    true = torch.linalg.eigvalsh(full_hessian(net, x, y)).numpy()
    hessian = Hessian(Objective(net, F.cross_entropy, (x, y)))
    top, bottom, _ = eigenpairs(hessian.product, start(hessian.size), top=3, bottom=2, tolerance=1e-8)
    assert [p.value for p in top] == pytest.approx(true[::-1][:3], rel=1e-7)
    assert [p.value for p in bottom] == pytest.approx(true[:2], rel=1e-6)
    for pair in top + bottom:
        assert pair.vector.norm().item() == pytest.approx(1)
        distance = (hessian.product(pair.vector) - pair.value * pair.vector).norm().item()
        assert distance == pytest.approx(pair.residual, abs=1e-8)
        assert np.abs(true - pair.value).min() <= pair.residual + 1e-9


@pytest.mark.parametrize("seed", range(20))
def test_one_percent_is_kept_and_cheap(seed: int) -> None:
    """A bulk around zero and a few outliers at the top, as networks have."""
    bulk = np.random.default_rng(seed).normal(0, 0.3, 400).tolist()
    a = matrix([10.0, 7.0, 6.5, 3.0, *bulk], seed)
    top, bottom, krylov = eigenpairs(lambda v: a @ v, start(404, seed), top=2, bottom=1, tolerance=0.01, seed=seed)
    assert [p.value for p in top] == pytest.approx([10, 7], rel=0.01)
    assert bottom[0].value == pytest.approx(min(bulk), rel=0.01, abs=0.001)
    assert len(krylov.diagonal) < 80
    assert all(p.value <= 10 + 1e-9 for p in top)  # a Ritz value never lies outside


def test_repeated_eigenvalues_are_found_as_often_as_they_are() -> None:
    a = matrix([5.0, 5.0, 5.0, 1.0, 1.0, -2.0, -2.0, 0.0])
    top, bottom, _ = eigenpairs(lambda v: a @ v, start(8), top=4, bottom=2, tolerance=1e-6)
    assert [p.value for p in top] == pytest.approx([5, 5, 5, 1])
    assert [p.value for p in bottom] == pytest.approx([-2, -2])


@pytest.mark.parametrize("a", [torch.zeros(6, 6).double(), torch.eye(6).double(), -3 * torch.eye(1).double()])
def test_trivial_maps(a: torch.Tensor) -> None:
    top, bottom, _ = eigenpairs(lambda v: a @ v, start(len(a)), top=2, bottom=2)
    assert all(p.value == pytest.approx(a[0, 0].item()) for p in top + bottom)
    assert len(top) == min(2, len(a))


def test_the_basis_stays_orthogonal_in_single_precision() -> None:
    a = matrix([1e4, *np.linspace(-1, 1, 200).tolist()]).float()
    krylov = lanczos(lambda v: a @ v, start(201).float(), 60)
    error = krylov.basis @ krylov.basis.T - torch.eye(60)
    assert error.abs().max() < 1e-5

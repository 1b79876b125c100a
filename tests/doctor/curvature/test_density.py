"""Fractions by sign, moments and trace against the full Hessian."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from curvature_problems import full_hessian, small_net
from torch.nn import functional as F

from danlu.doctor.curvature.density import estimated_spectrum, exact_spectrum, hutch_plus_plus, probe
from danlu.doctor.curvature.hvp import Hessian
from danlu.doctor.curvature.objective import Objective


@pytest.fixture(scope="module")
def problem() -> tuple[Hessian, np.ndarray]:
    net, x, y = small_net()
    return Hessian(Objective(net, F.cross_entropy, (x, y))), torch.linalg.eigvalsh(full_hessian(net, x, y)).numpy()


def test_the_exact_spectrum_is_exact(problem) -> None:
    hessian, true = problem
    spectrum, values, vectors = exact_spectrum(hessian.matrix())
    assert values == pytest.approx(true, abs=1e-9)
    assert np.abs(vectors.T @ vectors - np.eye(len(true))).max() < 1e-9
    fractions = spectrum.sign_fractions()
    assert fractions.positive == pytest.approx(np.mean(true > 1e-10))
    assert fractions.negative == pytest.approx(np.mean(true < -1e-10))
    assert fractions.positive + fractions.negative + fractions.flat == pytest.approx(1)
    assert fractions.error == 0
    assert spectrum.trace().value == pytest.approx(true.sum())
    assert spectrum.trace().error == 0


def test_estimates_hold_within_their_errors(problem) -> None:
    hessian, true = problem
    size, runs = len(true), 12
    off_trace, off_moment, off_plus = [], [], []
    for seed in range(runs):
        spectrum = estimated_spectrum(probe(hessian.product, hessian.gradient, probes=4, steps=40, seed=seed))
        trace, fractions = spectrum.trace(), spectrum.sign_fractions()
        off_trace.append((trace.value - true.sum()) / trace.error)
        off_moment.append(spectrum.moment(2) / np.mean(true**2) - 1)
        # The true fraction lies between the positive ones and those that are not told from zero.
        assert fractions.positive - 4 * fractions.error <= np.mean(true > 1e-10)
        assert np.mean(true > 1e-10) <= fractions.positive + fractions.flat + 4 * fractions.error
        assert fractions.negative - 4 * fractions.error <= np.mean(true < -1e-10)
        plus = hutch_plus_plus(hessian.product, hessian.gradient, products=30, seed=seed)
        off_plus.append((plus.value - true.sum()) / plus.error)
    assert 0.3 < np.std(off_trace) < 2  # the stated error is the true one
    assert np.abs(np.mean(off_moment)) < 0.5
    assert np.median(np.abs(off_plus)) < 2
    assert size > 100


def test_quadrature_is_exact_in_moments_for_its_direction(problem) -> None:
    """2m moments of the weights that the start vector sees."""
    hessian, _ = problem
    full = hessian.matrix()
    generator = torch.Generator().manual_seed(3)
    start = torch.randn(hessian.size, generator=generator, dtype=torch.float64)
    spectrum = estimated_spectrum(probe(hessian.product, start, probes=1, steps=5, seed=3))
    vector = start / start.norm()
    image = vector
    for power in range(1, 10):
        image = full @ image
        assert spectrum.moment(power) == pytest.approx(torch.dot(vector, image).item(), rel=1e-6, abs=1e-12)


def test_the_density_has_area_one_and_the_right_mean(problem) -> None:
    hessian, true = problem
    drawn = exact_spectrum(hessian.matrix())[0].density(points=4000)
    assert np.trapezoid(drawn.density, drawn.values) == pytest.approx(1, abs=1e-3)
    assert np.trapezoid(drawn.density * drawn.values, drawn.values) == pytest.approx(true.mean(), rel=0.01)


def test_hutch_plus_plus_is_exact_where_the_rank_is_low() -> None:
    low = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a = low @ low.T
    found = hutch_plus_plus(lambda v: a @ v, a[0], products=12)
    assert found.value == pytest.approx(a.trace().item(), rel=1e-9)
    small = torch.diag(torch.tensor([1.0, -2.0, 5.0]))
    assert hutch_plus_plus(lambda v: small @ v, small[0]).value == pytest.approx(4)


def test_an_indefinite_and_a_positive_map_are_told_apart() -> None:
    """Half of the eigenvalues negative; all positive: known fractions of a map too large to be taken whole."""
    for fraction in (0.5, 1.0, 0.25):
        signs = torch.ones(2000, dtype=torch.float64)
        signs[int(2000 * fraction) :] = -1
        diagonal = signs * torch.linspace(0.5, 2, 2000, dtype=torch.float64)[torch.randperm(2000)]
        fractions = estimated_spectrum(
            probe(lambda v, d=diagonal: d * v, diagonal, probes=4, steps=40, seed=0)
        ).sign_fractions()
        assert fractions.positive == pytest.approx(fraction, abs=4 * fractions.error + fractions.flat + 1e-6)
        assert fractions.flat < 0.05

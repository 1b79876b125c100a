"""curvlinops' Hessian with SciPy's eigsh, as in its documentation, at the loosest tolerance that reaches 1 %."""

from __future__ import annotations

import time

import numpy as np
from curvature_parts import network_and_images
from curvlinops import HessianLinearOperator
from protocol import Answers, Job, serve
from scipy.sparse.linalg import eigsh
from torch import nn


def with_curvlinops(job: Job) -> Answers:
    net, x, y = network_and_images(job)
    parameters = list(net.parameters())
    count = sum(p.numel() for p in parameters)
    start = np.random.default_rng(0).standard_normal(count).astype(np.float32)

    def top(tolerance: float) -> float:
        operator = HessianLinearOperator(
            net, nn.CrossEntropyLoss(), parameters, [(x, y)], progressbar=False, check_deterministic=False
        )
        return float(eigsh(operator.to_scipy(), k=1, which="LA", tol=tolerance, v0=start, return_eigenvectors=False)[0])

    exact = top(1e-5)
    fit = next(t for t in (0.1, 0.03, 0.01, 1e-3) if abs(top(t) / exact - 1) < 0.01)
    yield {"exact": exact, "settings": f"eigsh, tol {fit:g}, no check of determinism"}
    while True:
        began = time.perf_counter()
        value = top(fit)
        yield {"seconds": time.perf_counter() - began, "value": value}


if __name__ == "__main__":
    serve(with_curvlinops)

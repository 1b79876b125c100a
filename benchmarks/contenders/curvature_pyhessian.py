"""PyHessian's power iteration on one batch, with its graph kept; at the loosest tolerance that reaches 1 %."""

from __future__ import annotations

import time

import torch
from curvature_parts import network_and_images
from protocol import Answers, Job, serve
from pyhessian import hessian
from torch import nn


def with_pyhessian(job: Job) -> Answers:
    net, x, y = network_and_images(job)

    def top(tolerance: float) -> float:
        torch.manual_seed(0)  # seed of its random start vector
        net.zero_grad(set_to_none=True)
        values, _ = hessian(net, nn.CrossEntropyLoss(), data=(x, y), cuda=False).eigenvalues(tol=tolerance, top_n=1)
        return values[0]

    exact = top(1e-6)
    fit = next(t for t in (0.03, 0.01, 0.003, 1e-3, 1e-4, 1e-5) if abs(top(t) / exact - 1) < 0.01)
    yield {"exact": exact, "settings": f"tol {fit:g}"}
    while True:
        began = time.perf_counter()
        value = top(fit)
        yield {"seconds": time.perf_counter() - began, "value": value}


if __name__ == "__main__":
    serve(with_pyhessian)

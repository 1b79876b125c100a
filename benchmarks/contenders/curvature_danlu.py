"""danlu: the gradient, one Hessian-vector product on kept graphs, and the largest eigenvalue from scratch."""

from __future__ import annotations

import time

import torch
from curvature_parts import network_and_images
from protocol import Answers, Job, serve
from torch.nn import functional as F

from danlu.doctor.curvature.hvp import Hessian
from danlu.doctor.curvature.objective import Objective
from danlu.doctor.curvature.summary import sharpness


def danlu_curvature(job: Job) -> Answers:
    net, x, y = network_and_images(job)
    parameters = list(net.parameters())
    exact = sharpness(net, F.cross_entropy, (x, y), tolerance=1e-7).value
    hessian = Hessian(Objective(net, F.cross_entropy, (x, y)))
    vector = torch.randn(hessian.size)
    pieces = [(piece.inputs[0], piece.targets, piece.count / len(x)) for piece in hessian._pieces]
    yield {"exact": exact, "settings": f"{len(pieces)} pieces, tolerance 0.01"}
    while True:
        began = time.perf_counter()
        torch.autograd.grad(F.cross_entropy(net(x), y), parameters)
        gradient = time.perf_counter() - began
        began = time.perf_counter()
        for inputs, targets, weight in pieces:
            torch.autograd.grad(weight * F.cross_entropy(net(inputs), targets), parameters)
        in_pieces = time.perf_counter() - began
        began = time.perf_counter()
        hessian.product(vector)
        product = time.perf_counter() - began
        began = time.perf_counter()
        value = sharpness(net, F.cross_entropy, (x, y), tolerance=0.01).value
        seconds = time.perf_counter() - began
        yield {
            "seconds": seconds,
            "value": value,
            "gradient": gradient,
            "gradient_in_pieces": in_pieces,
            "product": product,
        }


if __name__ == "__main__":
    serve(danlu_curvature)

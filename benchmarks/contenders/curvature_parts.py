"""Trained network, images and reference shared by all curvature contenders."""

from __future__ import annotations

import numpy as np
import torch
from protocol import Job
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.models.network_table import build_model


def network_and_images(job: Job) -> tuple[nn.Module, Tensor, Tensor]:
    """LeNet after 100 steps on the images of the job, in evaluation mode; x (N, 1, 28, 28) and y (N,)."""
    with np.load(job["data"]) as arrays:
        images, targets = arrays["x"][: job["count"]], arrays["y"][: job["count"]]
    x = torch.from_numpy(images).float().div(255).sub(0.5)[:, None]
    y = torch.from_numpy(targets)
    torch.manual_seed(0)
    net = build_model("lenet", channels=1, size=28, classes=10)
    descent = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    for _ in range(100):
        rows = torch.randint(len(x), (128,))
        descent.zero_grad()
        F.cross_entropy(net(x[rows]), y[rows]).backward()
        descent.step()
    net.zero_grad()
    return net.eval(), x, y

"""Small problems whose Hessian is known by a formula or by torch.func."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F


class Point(nn.Module):
    """A function of its weights alone, as a network whose inputs are only counted."""

    def __init__(self, at: list[float], function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.at, self.function = nn.Parameter(torch.tensor(at, dtype=torch.float64)), function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(self.at) + 0 * inputs.sum()


NOTHING = [(torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1))]


def itself(outputs: Tensor, _: Tensor) -> Tensor:
    return outputs


def small_net(seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor, Tensor]:
    """A convolutional net of 157 parameters with smooth units, and 30 samples of 3 classes."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 8), nn.Softplus())
    net.append(nn.Linear(8, 3))
    return net.to(dtype), torch.randn(30, 1, 6, 6, dtype=dtype), torch.randint(3, (30,))


def full_hessian(net: nn.Module, x: Tensor, y: Tensor, loss_fn: Callable[..., Tensor] = F.cross_entropy) -> Tensor:
    """(P, P) by torch.func.hessian over the trainable parameters as one vector."""
    named = {name: p for name, p in net.named_parameters() if p.requires_grad}

    def loss(vector: Tensor) -> Tensor:
        parts = vector.split([p.numel() for p in named.values()])
        weights = {name: part.view(p.shape) for (name, p), part in zip(named.items(), parts)}
        buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
        return loss_fn(functional_call(net, {**weights, **buffers}, (x,)), y)

    return torch.func.hessian(loss)(torch.cat([p.detach().flatten() for p in named.values()]))

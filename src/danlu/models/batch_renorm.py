"""Batch renormalisation (Ioffe 2017): batch norm whose output in training agrees with its output in evaluation."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BatchRenorm(nn.Module):
    """Normalise (N, C) or (N, C, H, W) per channel: y = (x - mu_B) / sigma_B * r + d, then scale and shift.

    r = sigma_B / sigma clipped to [1/r_max, r_max] and d = (mu_B - mu) / sigma clipped to +-d_max correct the batch
    statistics towards the moving averages; no gradient flows through r and d. Without clipping y = (x - mu) / sigma,
    the same function in training and in evaluation. The clipping limits grow slowly, from plain batch norm (r = 1,
    d = 0) to r_max and d_max, because the moving averages are wrong at first.

    Args:
        channels: C.
        r_max, d_max: Final clipping limits.
        warmup: Steps of plain batch norm.
        r_ramp, d_ramp: Steps after which the limits reach r_max and d_max. The paper uses 5,000 (warmup), 40,000 and
            25,000 for a training of about 100,000 steps; the defaults are a tenth of these.
        momentum: Weight of the new batch in the moving averages.
        eps: Added to the variance.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        channels: int,
        *,
        r_max: float = 3.0,
        d_max: float = 5.0,
        warmup: int = 500,
        r_ramp: int = 4000,
        d_ramp: int = 2500,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.r_max, self.d_max, self.momentum, self.eps = r_max, d_max, momentum, eps
        self.warmup, self.r_ramp, self.d_ramp = warmup, r_ramp, d_ramp
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def limits(self) -> tuple[float, float]:
        """Return the clipping limits (r_max, d_max) of the current step."""
        step = int(self.num_batches_tracked)

        def fraction_of_ramp(end: int) -> float:
            return min(max(step - self.warmup, 0) / max(end - self.warmup, 1), 1.0)

        return 1 + (self.r_max - 1) * fraction_of_ramp(self.r_ramp), self.d_max * fraction_of_ramp(self.d_ramp)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised input, of the same shape; updates the running statistics in training."""
        if self.training:
            mean, scale = self._corrected(x)
        else:
            mean, scale = self.running_mean, (self.running_var + self.eps).rsqrt()
        scale = scale * self.weight
        shift = self.bias - mean * scale
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return (x * scale.view(shape) + shift.view(shape)).to(x.dtype)

    def _corrected(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and scale (C,) such that (x - mean) * scale equals (x - mu_B) / sigma_B * r + d."""
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        var, mean = torch.var_mean(values, dim=[0, *range(2, x.ndim)], correction=0)
        sigma = (var + self.eps).sqrt()
        r_max, d_max = self.limits()
        with torch.no_grad():
            moving = (self.running_var + self.eps).sqrt()
            r = (sigma / moving).clamp(1 / r_max, r_max)
            d = ((mean - self.running_mean) / moving).clamp(-d_max, d_max)
            count = x.numel() // x.shape[1]
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (count / max(count - 1, 1)), self.momentum)
            self.num_batches_tracked += 1
        return mean - d * sigma / r, r / sigma

    def extra_repr(self) -> str:
        """Return the settings that the repr of the module shows."""
        return f"{len(self.weight)}, r_max={self.r_max}, d_max={self.d_max}, eps={self.eps}, momentum={self.momentum}"

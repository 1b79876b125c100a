"""Convolution with a table of connections between input and output maps, as C3 of LeNet-5."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SparseConvolution(nn.Module):
    """Convolution without padding whose output maps read only some input maps.

    It has one kernel per connection and one bias per output map.

    Args:
        table: For each output map, the indices of its input maps.
        kernel: Side of the kernels in pixels.
    """

    outputs: Tensor
    inputs: Tensor

    def __init__(self, table: tuple[tuple[int, ...], ...], kernel: int) -> None:
        super().__init__()
        pairs = torch.tensor([(o, i) for o, sources in enumerate(table) for i in sources])
        self.register_buffer("outputs", pairs[:, 0], persistent=False)
        self.register_buffer("inputs", pairs[:, 1], persistent=False)
        self.table = table
        self.shape = (len(table), 1 + max(map(max, table)), kernel, kernel)
        fan_in = torch.tensor([len(sources) * kernel * kernel for sources in table for _ in sources])
        self.weight = nn.Parameter(uniform((len(pairs), kernel, kernel), fan_in.view(-1, 1, 1)))
        self.bias = nn.Parameter(torch.zeros(len(table)))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, H', W') of a map (N, inputs, H, W)."""
        dense = self.weight.new_zeros(self.shape).index_put((self.outputs, self.inputs), self.weight)
        return F.conv2d(x, dense, self.bias)

    @torch.no_grad()
    def fill(self, initialise: Callable[[Tensor], object]) -> None:
        """Reinitialise the kernels.

        Each output map is initialised separately, so that its fan in counts only its own input maps; the fan out is
        the mean number of output maps per input map.

        Args:
            initialise: Initialises a dense kernel (outputs, inputs, k, k) in place, as the functions of torch.nn.init.
        """
        _, inputs, *kernel = self.shape
        fan_out = round(len(self.weight) / inputs)
        initialised = []
        for sources in self.table:
            kernels = self.weight.new_empty(fan_out, len(sources), *kernel)
            initialise(kernels)
            initialised.append(kernels[0])
        self.weight.copy_(torch.cat(initialised))


def uniform(shape: Sequence[int], fan_in: Tensor | int) -> Tensor:
    """Draw weights uniformly in +-2.4 / fan in (LeCun et al. 1998, appendix A).

    Args:
        shape: Of the weights.
        fan_in: Inputs per unit, a number or broadcastable to `shape`.
    """
    return torch.empty(tuple(shape)).uniform_(-2.4, 2.4) / fan_in

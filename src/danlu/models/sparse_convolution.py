"""A convolution by a table of connections: LeNet-5's C3."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SparseConvolution(nn.Module):
    """A convolution whose every output map sees only some input maps: one kernel per connection, one bias per map."""

    outputs: Tensor
    inputs: Tensor

    def __init__(self, table: tuple[tuple[int, ...], ...], kernel: int) -> None:
        super().__init__()
        pairs = torch.tensor([(o, i) for o, seen in enumerate(table) for i in seen])
        self.register_buffer("outputs", pairs[:, 0], persistent=False)
        self.register_buffer("inputs", pairs[:, 1], persistent=False)
        self.table = table
        self.shape = (len(table), 1 + max(map(max, table)), kernel, kernel)
        fan_in = torch.tensor([len(seen) * kernel * kernel for seen in table for _ in seen])
        self.weight = nn.Parameter(uniform((len(pairs), kernel, kernel), fan_in.view(-1, 1, 1)))
        self.bias = nn.Parameter(torch.zeros(len(table)))

    def forward(self, x: Tensor) -> Tensor:
        dense = self.weight.new_zeros(self.shape).index_put((self.outputs, self.inputs), self.weight)
        return F.conv2d(x, dense, self.bias)

    @torch.no_grad()
    def draw(self, fill: Callable[[Tensor], object]) -> None:
        """Fill the kernels anew. fill: what would initialise a dense (outputs, inputs, k, k) kernel in place.

        Each output map is filled by itself, so that its fan in is that of the maps it sees; the fan out is the mean
        number of output maps that see an input map.
        """
        _, inputs, *kernel = self.shape
        fan_out = round(len(self.weight) / inputs)
        drawn = []
        for seen in self.table:
            kernels = self.weight.new_empty(fan_out, len(seen), *kernel)
            fill(kernels)
            drawn.append(kernels[0])
        self.weight.copy_(torch.cat(drawn))


def uniform(shape: Sequence[int], fan_in: Tensor | int) -> Tensor:
    """LeCun et al. 1998, appendix A: weights in +-2.4 / fan in; the fan in counts the numbers that a unit sums."""
    return torch.empty(tuple(shape)).uniform_(-2.4, 2.4) / fan_in

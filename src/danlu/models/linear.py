"""Linear and softmax regression: one affine map of the numbers of the input."""

from __future__ import annotations

from torch import Tensor, nn


class Linear(nn.Module):
    """(N, inputs), or images (N, C, H, W) with C H W = inputs, -> (N, outputs).

    With the squared loss it is linear regression; with cross entropy its outputs are the logits of softmax regression.
    Starts from zero: the loss is convex, so any start is as good, and zero gives equal odds to every class.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.head = nn.Linear(inputs, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))

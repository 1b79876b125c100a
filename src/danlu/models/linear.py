"""Linear and softmax regression: one affine map of the flattened input."""

from __future__ import annotations

from torch import Tensor, nn


class Linear(nn.Module):
    """Affine map of (N, inputs), or images (N, C, H, W) with C H W = inputs, to (N, outputs).

    Linear regression with the squared loss; softmax regression with cross-entropy, where the outputs are logits.
    Initialised to zero: the loss is convex, so every initialisation reaches the same minimum, and zero gives all
    classes the same probability.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.head = nn.Linear(inputs, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))

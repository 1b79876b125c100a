"""Linear and softmax regression: one affine map of the flattened input."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from danlu.models.spec import NetworkSpec


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
        """Return (N, outputs)."""
        return self.head(x.flatten(1))


_linear = partial(NetworkSpec, Linear, family="linear", tabular=True, default_input=(784,), convex=True)
NETWORKS = {
    "linear": _linear("linear regression: one affine map"),
    "softmax": _linear("softmax regression: one affine map to logits"),
}

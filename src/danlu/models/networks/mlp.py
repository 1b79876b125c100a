"""The multilayer perceptron: dense layers with activations between them."""

from __future__ import annotations

from torch import Tensor, nn

from danlu.models.parts import activation_layer, norm_layer, shifts
from danlu.models.spec import NetworkSpec


class MLP(nn.Module):
    """Multilayer perceptron from (N, inputs), or images (N, C, H, W) with C H W = inputs, to (N, outputs).

    Each hidden layer is dense, normalisation, activation, dropout. One hidden layer of m units on d inputs and k
    outputs has (d + 1) m + (m + 1) k parameters.

    Args:
        width: Units of each hidden layer.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: tuple[int, ...] = (256,),
        activation: str = "relu",
        norm: str = "none",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for units in width:
            layers += [
                nn.Linear(inputs, units, bias=not shifts(norm)),
                norm_layer(norm, units, flat=True),
                activation_layer(activation),
                nn.Dropout(dropout),
            ]
            inputs = units
        # Dropout layers of p = 0 are kept so that `--regularise.dropout_when` finds them.
        self.hidden = nn.Sequential(*(layer for layer in layers if not isinstance(layer, nn.Identity)))
        self.head = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs)."""
        return self.head(self.hidden(x.flatten(1)))


NETWORKS = {
    "mlp": NetworkSpec(
        MLP,
        "multilayer perceptron: dense layers (256 hidden units)",
        paper="Rumelhart et al. 1986",
        family="mlp",
        tabular=True,
        default_input=(784,),
    )
}

"""int8 of torch.export: the weights of dense layers in 8 bits, by torchao; everything else stays in float32."""

from __future__ import annotations

import copy

from torch import nn

from danlu.deployment.graph import Graph
from danlu.message import Message, message
from danlu.progress.silence import silent_log
from danlu.refuse import Refusal

PACKAGES = ("torchao",)
MIN_DENSE_FRACTION = 0.5  # fraction of the parameters that are of dense layers; a note says so where it is smaller


def with_int8_weights(graph: Graph) -> tuple[Graph, Message | None]:
    """Return a copy of a graph whose dense layers have int8 weights, one scale per output, and a note where few have.

    The weights of the copy are plain tensors, so that its file is read by torch alone. Raises Refusal for a network
    without dense layers.
    """
    with silent_log():
        from torchao.quantization import Int8WeightOnlyConfig, quantize_  # pyright: ignore[reportMissingImports]
        from torchao.utils import unwrap_tensor_subclass  # pyright: ignore[reportMissingImports]

        chosen = {name: layer for name, layer in graph.named_modules() if _dense(layer)}
        if not chosen:
            text = (
                "--int8 must be omitted with --format pt2 for a network without dense layers, "
                "because it quantises no others"
            )
            raise Refusal(message("deployment.refuse.int8_no_dense_layers", text), "--int8")
        small = copy.deepcopy(graph)
        config = Int8WeightOnlyConfig(set_inductor_config=False)
        quantize_(small, config, filter_fn=lambda layer, name: name in chosen)
        unwrap_tensor_subclass(small)
    dense = sum(layer.weight.numel() for layer in chosen.values() if isinstance(layer, nn.Linear))
    fraction = dense / sum(one.numel() for one in graph.parameters())
    if fraction >= MIN_DENSE_FRACTION:
        return small, None
    text = "{fraction:.0%} of the weights are of dense layers and in 8 bits; the rest stays in float32"
    return small, message("deployment.note.int8_fraction", text, fraction=fraction)


def _dense(layer: nn.Module) -> bool:
    """Return whether a module is a dense layer that is called: of that of nn.MultiheadAttention only the weight is."""
    return isinstance(layer, nn.Linear) and not isinstance(layer, nn.modules.linear.NonDynamicallyQuantizableLinear)

"""Walking back through autograd's graph: what a tensor was made from, past operations that only rearrange or scale it.

Works for modules and for functional calls alike, because both leave the same nodes behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

# Nodes that leave a linear map linear: rearranging, casting, averaging, dropout's mask.
REARRANGING = {
    "ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0", "AsStridedBackward0", "TBackward0",
    "TransposeBackward0", "PermuteBackward0", "SqueezeBackward0", "SqueezeBackward1", "SqueezeBackward2",
    "UnsqueezeBackward0", "ExpandBackward0", "CloneBackward0", "AliasBackward0", "ToCopyBackward0", "SliceBackward0",
    "SelectBackward0", "NativeDropoutBackward0", "FusedDropoutBackward0", "ConstantPadNdBackward0",
}  # fmt: skip
POOLING = {
    "AvgPool1DBackward0", "AvgPool2DBackward0", "MeanBackward0", "MeanBackward1", "AdaptiveAvgPool2DBackward0",
    "AdaptiveAvgPool1DBackward0", "MkldnnAdaptiveAvgPool2DBackward0", "SumBackward1",
}  # fmt: skip
MAX_POOLING = {"MaxPool2DWithIndicesBackward0", "AdaptiveMaxPool2DBackward0", "MaxPool1DWithIndicesBackward0"}
SCALING = {"MulBackward0", "DivBackward0", "AddBackward0", "SubBackward0"}  # by or with something without a gradient
BATCH_NORM = {"NativeBatchNormBackward0", "CudnnBatchNormBackward0", "MiopenBatchNormBackward0"}
ACTIVATIONS = {
    "ReluBackward0": "relu", "SigmoidBackward0": "sigmoid", "TanhBackward0": "tanh", "SoftmaxBackward0": "softmax",
    "LogSoftmaxBackward0": "log_softmax", "GeluBackward0": "gelu", "SiluBackward0": "silu",
    "LeakyReluBackward0": "leaky_relu", "EluBackward0": "elu", "HardtanhBackward0": "relu6",
    "SoftplusBackward0": "softplus", "LogSigmoidBackward0": "log_sigmoid", "HardswishBackward0": "hardswish",
    "HardsigmoidBackward0": "hardsigmoid", "PreluKernelBackward0": "prelu", "ThresholdBackward0": "relu",
}  # fmt: skip
# Not BmmBackward0: attention multiplies two tensors that both depend on the input.
LINEAR = {"AddmmBackward0", "MmBackward0", "ConvolutionBackward0", "LinearBackward0", "MvBackward0"}


def _previous(node: Any) -> Any:
    """The node before a node with one input that matters; None where several do."""
    sources = [n for n, _ in node.next_functions if n is not None]
    if node.name() in BATCH_NORM:
        return node.next_functions[0][0]
    return sources[0] if len(sources) == 1 else None


def behind(node: Any, *, norms: bool = False, max_pooling: bool = False, limit: int = 24) -> Iterator[Any]:
    """`node` and the nodes behind it, as far as only linear operations lie in between (those linear maps included,
    where the walk ends). norms: pass batch norms, too. max_pooling: pass max pooling, too."""
    for _ in range(limit):
        if node is None:
            return
        yield node
        name = node.name()
        passable = name in REARRANGING or name in POOLING or name in SCALING
        if not (passable or (norms and name in BATCH_NORM) or (max_pooling and name in MAX_POOLING)):
            return
        node = _previous(node)


def consumers(starts: Iterable[Any]) -> dict[Any, int]:
    """How many nodes take from each node that lies behind `starts`."""
    counts: dict[Any, int] = {}
    seen, ahead = set(), list(starts)
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for source in {n for n, _ in node.next_functions if n is not None}:
            counts[source] = counts.get(source, 0) + 1
            ahead.append(source)
    return counts


def last_activation(node: Any) -> tuple[str, Any] | None:
    """The activation that made the tensor of this grad_fn, past rearranging and pooling, with its node; None: none."""
    for item in behind(node, max_pooling=True):
        if item.name() in ACTIVATIONS:
            return ACTIVATIONS[item.name()], item
    return None

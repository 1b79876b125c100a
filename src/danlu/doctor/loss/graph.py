"""Backward traversal of the autograd graph, past operations that only rearrange or scale a tensor.

Works for modules and functional calls alike, because both create the same nodes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from torch import Tensor

# Nodes that keep a linear map linear: reshaping, casts, averages, dropout masks.
REARRANGING = {
    "ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0", "AsStridedBackward0", "TBackward0",
    "TransposeBackward0", "PermuteBackward0", "SqueezeBackward0", "SqueezeBackward1", "SqueezeBackward2",
    "UnsqueezeBackward0", "ExpandBackward0", "CloneBackward0", "AliasBackward0", "ToCopyBackward0", "SliceBackward0",
    "SelectBackward0", "NativeDropoutBackward0", "FusedDropoutBackward0", "ConstantPadNdBackward0",
}  # fmt: skip
SELECTING = {"IndexBackward0", "IndexSelectBackward0", "MaskedSelectBackward0", "SplitBackward0", "UnbindBackward0"}
POOLING = {
    "AvgPool1DBackward0", "AvgPool2DBackward0", "MeanBackward0", "MeanBackward1", "AdaptiveAvgPool2DBackward0",
    "AdaptiveAvgPool1DBackward0", "MkldnnAdaptiveAvgPool2DBackward0", "SumBackward1",
}  # fmt: skip
MAX_POOLING = {"MaxPool2DWithIndicesBackward0", "AdaptiveMaxPool2DBackward0", "MaxPool1DWithIndicesBackward0"}
SCALING = {"MulBackward0", "DivBackward0", "AddBackward0", "SubBackward0"}  # with an operand that has no gradient
PAIRWISE = {*SCALING, "RsubBackward1", "PowBackward1"}  # elementwise operations of two tensors
PRODUCTS = {"MmBackward0", "BmmBackward0"}  # of two tensors; nn.Linear without a bias is one too
BATCH_NORM = {"NativeBatchNormBackward0", "CudnnBatchNormBackward0", "MiopenBatchNormBackward0"}
ACTIVATIONS = {
    "ReluBackward0": "relu", "SigmoidBackward0": "sigmoid", "TanhBackward0": "tanh", "SoftmaxBackward0": "softmax",
    "LogSoftmaxBackward0": "log_softmax", "GeluBackward0": "gelu", "SiluBackward0": "silu",
    "LeakyReluBackward0": "leaky_relu", "EluBackward0": "elu", "HardtanhBackward0": "relu6",
    "SoftplusBackward0": "softplus", "LogSigmoidBackward0": "log_sigmoid", "HardswishBackward0": "hardswish",
    "HardsigmoidBackward0": "hardsigmoid", "PreluKernelBackward0": "prelu", "ThresholdBackward0": "relu",
}  # fmt: skip
MAX_NODES = 50_000  # larger autograd graphs are not searched as a whole
MIN_MASK, MASK_STANDARD_ERRORS = 16, 5.0  # elements of the mask of a dropout, and allowed deviation of its zeros
# Not BmmBackward0: attention multiplies two tensors that both depend on the input.
LINEAR = {"AddmmBackward0", "MmBackward0", "ConvolutionBackward0", "LinearBackward0", "MvBackward0"}


def nodes(root: Any, through: Collection[str] | None = None) -> Iterator[Any]:
    """Iterate over a node of the graph and all that it follows from.

    through: names of the operations past which the search goes on, besides the root; None: all.
    """
    seen, pending = {root}, [root]
    while pending and len(seen) < MAX_NODES:
        node = pending.pop()
        yield node
        if through is not None and node is not root and node.name() not in through:
            continue
        for source, _ in node.next_functions:
            if source is not None and source not in seen:
                seen.add(source)
                pending.append(source)


def leaves(root: Any, through: Collection[str] | None = None) -> Iterator[Tensor]:
    """Iterate over the leaf tensors that get a gradient from a node of the graph. through: as of `nodes`."""
    for node in nodes(root, through):
        variable = getattr(node, "variable", None)
        if isinstance(variable, Tensor):
            yield variable


def _previous(node: Any) -> Any:
    """Return the predecessor of a node with a single relevant input; None if there are several."""
    sources = [n for n, _ in node.next_functions if n is not None]
    if node.name() in BATCH_NORM:
        return node.next_functions[0][0]
    if node.name() == "DivBackward0" and len(sources) == 2 and _is_sum_of(sources[1], sources[0]):
        return sources[0]  # probabilities that are made to sum to 1
    return sources[0] if len(sources) == 1 else None


def _is_softmax_by_hand(node: Any) -> bool:
    """Return whether a division is exp(x) / exp(x).sum()."""
    (above, _), (below, _) = node.next_functions
    return above is not None and below is not None and above.name() == "ExpBackward0" and _is_sum_of(below, above)


def _is_sum_of(node: Any, of: Any) -> bool:
    """Return whether a node sums the tensor of another node."""
    return node.name().startswith("SumBackward") and node.next_functions[0][0] is of


def behind(
    node: Any, *, norms: bool = False, max_pooling: bool = False, constant_products: bool = False, limit: int = 24
) -> Iterator[Any]:
    """Iterate over `node` and its predecessors up to and including the first operation that is not a rearrangement.

    Args:
        norms: continue past batch norms.
        max_pooling: continue past max pooling.
        constant_products: continue past products with a matrix that is not learned.
        limit: max number of nodes.
    """
    for _ in range(limit):
        if node is None:
            return
        yield node
        name = node.name()
        passable = name in REARRANGING or name in SELECTING or name in POOLING or name in SCALING
        passable = passable or (norms and name in BATCH_NORM) or (max_pooling and name in MAX_POOLING)
        if not passable and not (constant_products and is_constant_product(node)):
            return
        node = _previous(node)


def is_constant_product(node: Any) -> bool:
    """Return whether a tensor is multiplied by a matrix that is not learned, as the adjacency matrix of a graph."""
    sources = [source for source, _ in node.next_functions if source is not None]
    if node.name() not in PRODUCTS or len(node.next_functions) != 2 or len(sources) != 1:
        return False
    source = sources[0]
    while source is not None and source.name() in REARRANGING:
        source = _previous(source)
    return source is not None and "AccumulateGrad" not in source.name()


def consumers(starts: Iterable[Any]) -> dict[Any, int]:
    """Count the consumers of each node that is reachable backwards from `starts`."""
    counts: dict[Any, int] = {}
    seen, pending = set(), list(starts)
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for source in {n for n, _ in node.next_functions if n is not None}:
            counts[source] = counts.get(source, 0) + 1
            pending.append(source)
    return counts


def last_activation(node: Any) -> tuple[str, Any] | None:
    """Return the name and node of the activation that produced a tensor, past rearrangements and pooling, or None.

    The logarithm of a softmax or sigmoid, written as two operations, counts as log_softmax or log_sigmoid.

    Args:
        node: grad_fn of the tensor.
    """
    for item in behind(node, max_pooling=True):
        if item.name() in ACTIVATIONS:
            return ACTIVATIONS[item.name()], item
        if item.name().startswith("Clamp"):  # as of probabilities, before a logarithm
            return last_activation(_previous(item))
        if item.name() == "DivBackward0" and _is_softmax_by_hand(item):
            return "softmax", item
        if item.name() == "LogBackward0":
            inner = last_activation(_unclamped(_previous(item)))
            return (f"log_{inner[0]}", inner[1]) if inner and inner[0] in ("softmax", "sigmoid") else None
    return None


def dropout_after_layer(node: Any) -> float | None:
    """Fraction that dropout sets to 0 right after a linear layer; None unless it is the last operation on a tensor.

    Args:
        node: grad_fn of the tensor.
    """
    rate = None
    for item in behind(node):
        if item.name() in LINEAR:
            return rate
        rate = _dropped(item) if rate is None else rate
    return None


def _dropped(node: Any) -> float | None:
    """Fraction of zeros in the mask of a dropout; None for any other operation.

    The other elements are multiplied by 1 / (1 - fraction), which distinguishes a dropout from other masks.
    """
    try:
        if node.name() == "NativeDropoutBackward0":
            return float(node._saved_p) or None
        mask = node._saved_other if node.name() == "MulBackward0" else None
        if mask is None or mask.requires_grad or mask.numel() < MIN_MASK or not mask.is_floating_point():
            return None
        top = float(mask.max())
        rate = 1 - 1 / max(top, 1.0)
        only = bool(((mask == 0) | (mask == top)).all())
        zeros = float((mask == 0).float().mean())
    except (AttributeError, RuntimeError):  # autograd freed it
        return None
    error = MASK_STANDARD_ERRORS * math.sqrt(rate * (1 - rate) / mask.numel())
    return rate if only and 0 < rate < 1 and abs(zeros - rate) <= error else None


def _unclamped(node: Any) -> Any:
    """Skip a clamp, as in log(p.clamp(min=1e-7))."""
    while node is not None and node.name().startswith("Clamp"):
        node = _previous(node)
    return node


def is_cosine(node: Any) -> bool:
    """Return whether a tensor holds cosine similarities: products of vectors divided by their norms, not scaled.

    Args:
        node: grad_fn of the tensor.
    """
    for _ in range(8):
        if node is None:
            return False
        sources = [source for source, _ in node.next_functions if source is not None]
        if node.name() in PRODUCTS:
            return len(sources) == 2 and all(map(is_normalised, sources))
        is_shifted = node.name() in ("AddBackward0", "SubBackward0") or _is_at_most_doubled(node)
        if node.name() not in REARRANGING and not is_shifted:
            return False
        node = _previous(node)
    return False


def _is_at_most_doubled(node: Any) -> bool:
    """Return whether an operation does not make cosines larger than 2: a temperature left at 1, or multiplied by."""
    if node.name() not in ("MulBackward0", "DivBackward0"):
        return False
    try:
        number = node._saved_other
        factor = abs(float(number)) if number.numel() == 1 and not number.requires_grad else math.inf
        return (factor if node.name() == "MulBackward0" else 1 / max(factor, 1e-12)) <= 2
    except (AttributeError, RuntimeError):  # autograd freed it
        return False


def is_normalised(node: Any) -> bool:
    """Return whether a tensor was divided by a norm, clamped or with a constant added to it, past rearrangements.

    Args:
        node: grad_fn of the tensor.
    """
    while node is not None and node.name() in REARRANGING:
        node = _previous(node)
    if node is None or node.name() != "DivBackward0":
        return False
    divisor = node.next_functions[1][0]
    while divisor is not None and (divisor.name() in REARRANGING or divisor.name().startswith(("Clamp", "Add"))):
        divisor = _previous(divisor)
    return divisor is not None and "Norm" in divisor.name()


def is_scaled(node: Any) -> bool:
    """Return whether a tensor is its last activation scaled or shifted, as 5 * sigmoid(x): its range is another one."""
    return any(item.name() in SCALING for item in behind(node, max_pooling=True))


def softmax_axis(node: Any) -> tuple[int, list[int]] | None:
    """Axis of a softmax or log_softmax, not negative, and the shape of its result; None if autograd freed them.

    Args:
        node: its node in the graph.
    """
    try:
        shape, axis = list(node._saved_result.shape), int(node._saved_dim)
    except (AttributeError, RuntimeError):
        return None
    if axis >= 2**63:  # negative axes are saved as unsigned numbers
        axis -= 2**64
    return axis % max(1, len(shape)), shape


def shape_of(node: Any) -> list[int]:
    """Shape of the result of an operation; empty if unknown."""
    known = getattr(node, "_input_metadata", None)
    return list(known[0].shape) if known else []


def between(loss: Any, outputs: Any, limit: int) -> Iterator[Any]:
    """Iterate breadth first over at most `limit` nodes from that of a loss back to that of the outputs, without it.

    outputs: None for all nodes that the loss follows from.
    """
    pending, seen = [loss], set()
    while pending and len(seen) < limit:
        node = pending.pop(0)
        if node is None or node in seen or node is outputs:
            continue
        seen.add(node)
        yield node
        pending += [source for source, _ in node.next_functions]


def softmax_in_loss(loss: Any, outputs: Any, limit: int = 64) -> Any | None:
    """Node of a softmax or log_softmax that a loss written by hand takes of the outputs; None if there is none.

    Args:
        loss, outputs: grad_fn of both.
        limit: max number of nodes.
    """
    for node in between(loss, outputs, limit):
        if ACTIVATIONS.get(node.name()) in ("softmax", "log_softmax"):
            return node if any(one is outputs for one in behind(node.next_functions[0][0])) else None
    return None


def takes_log_of(loss: Any, outputs: Any, limit: int = 64) -> bool:
    """Return whether a loss written by hand takes the logarithm of the outputs, past clamps and added constants.

    Args:
        loss, outputs: grad_fn of both.
        limit: max number of nodes.
    """
    return any(True for _ in _logarithms(loss, outputs, limit))


def takes_log_of_complement(loss: Any, outputs: Any, limit: int = 64) -> bool:
    """Return whether a loss written by hand takes the logarithm of 1 - outputs, as a binary cross entropy does.

    Args:
        loss, outputs: grad_fn of both.
        limit: max number of nodes.
    """
    return any(_logarithms(loss, outputs, limit))


def _logarithms(loss: Any, outputs: Any, limit: int) -> Iterator[bool]:
    """Iterate over the logarithms of the outputs, past clamps and constants: whether they are of 1 - outputs."""
    for node in between(loss, outputs, limit):
        if node.name() != "LogBackward0":
            continue
        inner, turned = _unclamped(_previous(node)), False
        passed = (*SCALING, *REARRANGING, "RsubBackward1")
        while inner is not None and inner is not outputs and inner.name() in passed:
            turned = turned or inner.name() == "RsubBackward1"
            inner = _unclamped(_previous(inner))
        if inner is outputs:
            yield turned


def broadcast_pairs(loss: Any, outputs: Any, limit: int = 64) -> list[int]:
    """Shape that outputs of shape (N,) or (N, 1) take on in a loss written by hand, if it is every pair: (N, N).

    Args:
        loss, outputs: grad_fn of both.
        limit: max number of nodes.

    Returns:
        The shape; empty if the outputs are combined with a tensor of the same shape.
    """
    before = shape_of(outputs)
    if not before or before[0] < 2 or before[1:] not in ([], [1]):
        return []
    for node in between(loss, outputs, limit):
        sources = [source for source, _ in node.next_functions]
        if outputs in sources and node.name() in PAIRWISE and shape_of(node) == [before[0], before[0]]:
            return shape_of(node)
    return []

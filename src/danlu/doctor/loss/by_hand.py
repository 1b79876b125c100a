"""Operations that a loss written by hand applies to the outputs, read from its autograd graph.

Such a loss passes no targets to the doctor, but a product of the outputs with labels keeps the labels in the graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from danlu.doctor.loss.graph import PAIRWISE, PRODUCTS, REARRANGING, between, is_normalised, shape_of

SUMS = {"SumBackward0", "SumBackward1", "MeanBackward0", "MeanBackward1", "DotBackward0", "EinsumBackward0"}
ELEMENTWISE = {*PAIRWISE, "NegBackward0", "RsubBackward0", "PowBackward0"}
# Functions of a margin label * score that are constant or steep by the sign of the label.
OF_MARGINS = {
    "ClampBackward0", "ClampBackward1", "ClampMinBackward0", "ReluBackward0", "ThresholdBackward0", "MaximumBackward0",
    "SoftplusBackward0", "Log1PBackward0", "LogSigmoidBackward0", "LogBackward0",
}  # fmt: skip
MAX_NODES = 64


def is_overlap(loss: Any, outputs: Any) -> bool:
    """Return whether a loss is a ratio of sums of the outputs, as Dice and intersection over union are.

    Args:
        loss, outputs: grad_fn of both.
    """
    for node in between(loss, outputs, MAX_NODES):
        if node.name() != "DivBackward0":
            continue
        parts = [source for source, _ in node.next_functions]
        if len(parts) == 2 and all(part is not None and _sums_up(part, outputs) for part in parts):
            return True
    return False


def _sums_up(node: Any, outputs: Any) -> bool:
    """Return whether a number is a sum of products or squares of the outputs, without an activation in between."""
    summed, reached = False, False
    pending, seen = [node], set()
    while pending and len(seen) < MAX_NODES:
        current = pending.pop()
        if current is outputs:
            reached = True
        if current is None or current is outputs or current in seen:
            continue
        seen.add(current)
        name = current.name()
        if name not in SUMS and name not in ELEMENTWISE and name not in PRODUCTS and name not in REARRANGING:
            return False
        summed = summed or name in SUMS or name in PRODUCTS
        pending += [source for source, _ in current.next_functions]
    return summed and reached


def margin_labels(loss: Any, outputs: Any) -> Tensor | None:
    """Labels that multiply the outputs inside a hinge or a logarithm: y in max(0, 1 - y * s), log(1 + exp(-y * s)).

    Args:
        loss, outputs: grad_fn of both.

    Returns:
        The labels, or their negatives; None if there is no such product.
    """
    for node in between(loss, outputs, MAX_NODES):
        sources = [source for source, _ in node.next_functions if source is not None]
        if node.name() not in OF_MARGINS or len(sources) != 1:
            continue
        path = list(_single_path(sources[0]))
        if node.name() == "LogBackward0" and not any(one.name() == "ExpBackward0" for one in path):
            continue  # the logarithm of a probability, which a label picks
        for inner in path:
            if inner.name() == "MulBackward0":
                labels = factor(inner)
                direct = any(leads_to(source, outputs) for source, _ in inner.next_functions if source is not None)
                if labels is not None and direct and labels.numel() > 1:
                    return labels
    return None


def cosine_sign(loss: Any, outputs: Any) -> int:
    """Sign with which a loss written by hand holds a cosine of the outputs: 1 where minimising makes them opposite.

    Args:
        loss, outputs: grad_fn of both.

    Returns:
        1, -1, or 0 if the loss is not the mean or sum of cosines of the outputs, past constants and factors.
    """
    sign, node = 1, loss
    for _ in range(MAX_NODES):
        if node is None or node is outputs:
            return 0
        name, sources = node.name(), [source for source, _ in node.next_functions]
        if name.startswith("CosineSimilarity") or (name.startswith("SumBackward") and _is_product_of_unit(sources[0])):
            return sign if any(one is outputs for one in between(node, None, MAX_NODES)) else 0
        known = [source for source in sources if source is not None]
        if len(known) != 1 or not (name in ELEMENTWISE or name in SUMS or name in REARRANGING):
            return 0
        sign *= _sign_of_step(node)
        node = known[0]
    return 0


def overlap_sign(loss: Any, outputs: Any) -> int:
    """Sign with which a loss written by hand holds an overlap of outputs and labels (Dice): 1 where it is minimised.

    Args:
        loss, outputs: grad_fn of both.

    Returns:
        1, -1, or 0 if the loss is no such ratio of sums, past constants and factors.
    """
    sign, node = 1, loss
    for _ in range(MAX_NODES):
        if node is None or node is outputs:
            return 0
        name, known = node.name(), [source for source, _ in node.next_functions if source is not None]
        if name == "DivBackward0" and len(known) == 2:
            common = _summed_with_labels(known[0])
            below = list(between(known[1], common, MAX_NODES))
            shared = any(common is source for one in below for source, _ in one.next_functions)
            return sign if common is not None and shared else 0
        if len(known) != 1 or not (name in ELEMENTWISE or name in SUMS or name in REARRANGING):
            return 0
        sign *= _sign_of_step(node)
        node = known[0]
    return 0


def _summed_with_labels(node: Any) -> Any | None:
    """Node of the tensor whose product with labels is summed up, past constants and factors; None if there is none."""
    summed = False
    for _ in range(MAX_NODES):
        known = [source for source, _ in node.next_functions if source is not None]
        name = node.name()
        labels = factor(node) if name == "MulBackward0" else None
        if summed and labels is not None and labels.numel() > 1:
            return known[0]
        if len(known) != 1 or not (name in ELEMENTWISE or name in SUMS or name in REARRANGING):
            return None
        summed = summed or name in SUMS
        node = known[0]
    return None


def picks_of_all_labels(loss: Any) -> list[int]:
    """Shape of outputs[:, labels] in a loss written by hand, which holds for each sample the outputs of all labels.

    Args:
        loss: grad_fn of the loss.

    Returns:
        (N, N) for N samples and labels; empty if the loss picks the output of each sample's own label.
    """
    for node in between(loss, None, MAX_NODES):
        rows, picked = shape_of(node.next_functions[0][0]) if node.next_functions else [], shape_of(node)
        if len(rows) != 2 or rows[0] < 2 or picked != [rows[0], rows[0]] or rows[0] == rows[1]:
            continue
        if node.name() == "IndexBackward0" and node._saved_indices[0] is None:
            return picked
        if node.name() == "IndexSelectBackward0" and node._saved_dim == 1:
            return picked
    return []


def binary_labels(loss: Any, outputs: Any) -> Tensor | None:
    """Labels that multiply the scores in a binary cross entropy written by hand: log(1 + exp(s)) - y * s.

    Args:
        loss, outputs: grad_fn of both.

    Returns:
        The labels; None if there is no such product outside of the logarithm.
    """
    nodes = list(between(loss, outputs, MAX_NODES))
    if not any(node.name() in ("Log1PBackward0", "SoftplusBackward0", "LogBackward0") for node in nodes):
        return None
    summed = [source for node in nodes if node.name() in PAIRWISE for source, _ in node.next_functions]
    for node in nodes:
        if node.name() == "MulBackward0" and node in summed:
            labels = factor(node)
            direct = any(leads_to(source, outputs) for source, _ in node.next_functions if source is not None)
            if direct and labels is not None and labels.numel() > 1:
                return labels
    return None


def residual_targets(loss: Any, node: Any, outputs: Tensor) -> Tensor | None:
    """Targets of a squared or absolute error written by hand, (outputs - targets) ** 2: outputs minus the difference.

    Args:
        loss, node: grad_fn of the loss and of the outputs.
        outputs: what `node` computed.

    Returns:
        The targets, of the shape of the outputs; None if the loss holds no such error, or autograd freed it.
    """
    for power in between(loss, node, MAX_NODES):
        inner = power.next_functions[0][0] if power.next_functions else None
        if power.name() not in ("PowBackward0", "AbsBackward0") or inner is None or inner.name() != "SubBackward0":
            continue
        first, second = [source for source, _ in inner.next_functions]
        try:
            difference = power._saved_self.detach()
        except RuntimeError:
            return None
        if difference.shape == outputs.shape and second is None and leads_to(first, node):
            return outputs.detach() - difference
        if difference.shape == outputs.shape and first is None and leads_to(second, node):
            return outputs.detach() + difference
    return None


def _sign_of_step(node: Any) -> int:
    """-1 if an operation on one tensor with a gradient turns its sign, else 1."""
    name = node.name()
    if name in ("NegBackward0", "RsubBackward1", "RsubBackward0"):
        return -1
    if name == "SubBackward0":
        return -1 if node.next_functions[0][0] is None else 1
    by = factor(node) if name in ("MulBackward0", "DivBackward0") else None
    return -1 if by is not None and by.numel() == 1 and float(by) < 0 else 1


def _is_product_of_unit(node: Any) -> bool:
    """Return whether a tensor is the elementwise product of two tensors, one of them at least divided by its norm."""
    while node is not None and node.name() in REARRANGING:
        node = node.next_functions[0][0]
    if node is None or node.name() != "MulBackward0":
        return False
    return any(is_normalised(source) for source, _ in node.next_functions)


def _single_path(node: Any) -> Iterator[Any]:
    """Iterate over a node and its predecessors while each is elementwise with one operand that has a gradient."""
    for _ in range(MAX_NODES):
        if node is None:
            return
        yield node
        sources = [source for source, _ in node.next_functions if source is not None]
        name = node.name()
        if len(sources) != 1 or not (name in ELEMENTWISE or name in REARRANGING or name == "ExpBackward0"):
            return
        node = sources[0]


def leads_to(node: Any, outputs: Any) -> bool:
    """Return whether a tensor is the outputs themselves, past rearrangements."""
    for _ in range(MAX_NODES):
        if node is outputs:
            return True
        if node is None or node.name() not in REARRANGING:
            return False
        node = node.next_functions[0][0]
    return False


def factor(node: Any) -> Tensor | None:
    """Operand without a gradient of a product or quotient; None if autograd did not keep it."""
    for name in ("_saved_other", "_saved_self"):
        try:
            kept = getattr(node, name, None)
        except RuntimeError:  # freed
            return None
        if isinstance(kept, Tensor) and not kept.requires_grad:
            return kept
    return None

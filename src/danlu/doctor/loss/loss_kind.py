"""Kind of a loss module, function or autograd graph, by name."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

# Class of the module -> kind.
MODULES: dict[str, str] = {
    "CrossEntropyLoss": "cross_entropy",
    "NLLLoss": "nll",
    "BCELoss": "bce",
    "BCEWithLogitsLoss": "bce_logits",
    "MSELoss": "mse",
    "L1Loss": "l1",
    "SmoothL1Loss": "smooth_l1",
    "HuberLoss": "huber",
    "KLDivLoss": "kl",
    "MultiMarginLoss": "hinge",
    "MultiLabelSoftMarginLoss": "bce_logits",
    "PoissonNLLLoss": "poisson",
    "GaussianNLLLoss": "gaussian",
    "CTCLoss": "ctc",
    "TripletMarginLoss": "triplet",
    "CosineEmbeddingLoss": "cosine",
    "HingeEmbeddingLoss": "hinge_embedding",
    "SoftMarginLoss": "soft_margin",
    "MarginRankingLoss": "ranking",
}
# Public function -> kind.
FUNCTIONS: dict[Any, str] = {
    F.cross_entropy: "cross_entropy",
    F.nll_loss: "nll",
    F.binary_cross_entropy: "bce",
    F.binary_cross_entropy_with_logits: "bce_logits",
    F.mse_loss: "mse",
    F.l1_loss: "l1",
    F.smooth_l1_loss: "smooth_l1",
    F.huber_loss: "huber",
    F.kl_div: "kl",
    F.multi_margin_loss: "hinge",
    F.poisson_nll_loss: "poisson",
    F.gaussian_nll_loss: "gaussian",
    F.ctc_loss: "ctc",
    F.cosine_embedding_loss: "cosine",
    F.hinge_embedding_loss: "hinge_embedding",
    F.soft_margin_loss: "soft_margin",
    F.margin_ranking_loss: "ranking",
}
CROSS_ENTROPIES = ("cross_entropy", "nll", "bce", "bce_logits", "probabilities", "normalised")
SQUARED = ("mse", "half_mse", "l1", "smooth_l1", "huber")
# Kinds whose labels are -1 and 1; those of the first two come after two tensors.
PAIRS = ("cosine", "ranking")
SIGNED = (*PAIRS, "hinge_embedding", "soft_margin")
# Node of autograd's graph -> kind.
NODES: dict[str, str] = {
    "NllLossBackward0": "nll",
    "NllLoss2DBackward0": "nll",
    "BinaryCrossEntropyBackward0": "bce",
    "BinaryCrossEntropyWithLogitsBackward0": "bce_logits",
    "MseLossBackward0": "mse",
    "L1LossBackward0": "l1",
    "SmoothL1LossBackward0": "smooth_l1",
    "HuberLossBackward0": "huber",
    "MultiMarginLossBackward0": "hinge",
    "PowBackward0": "mse",
    "AbsBackward0": "l1",
}

SUMS = ("AddBackward0", "SubBackward0")
FACTORS = ("MulBackward0", "DivBackward0", "NegBackward0")


NAMES: dict[str, str] = {kind: name for name, kind in reversed(MODULES.items())}
# Cross entropies of probabilities, and of outputs that are divided by their sum, written by hand (targets_by_hand.py).
NAMES |= {"probabilities": "-(y * log(p)).sum(1).mean()", "normalised": "-(y * log(p / p.sum(1))).sum(1).mean()"}


def loss_name(kind: str | None) -> str:
    """Name of the loss class of torch.nn for a kind ("CrossEntropyLoss" for "cross_entropy"); else the kind itself."""
    return NAMES.get(str(kind), str(kind))


def kind_of(callable_: Any) -> str | None:
    """Kind of a loss module or function; None if its name is unknown."""
    if isinstance(callable_, nn.Module):
        return next((MODULES[c.__name__] for c in type(callable_).__mro__ if c.__name__ in MODULES), None)
    try:
        return FUNCTIONS.get(callable_)
    except TypeError:  # not hashable
        return None


def kind_by_graph(loss: Tensor, depth: int = 8) -> str | None:
    """Kind of a loss by the last operations of its graph: cross entropy is log_softmax followed by nll."""
    return kind_and_node(loss, depth)[0]


def kind_and_node(loss: Tensor, depth: int = 8) -> tuple[str | None, Any]:
    """Kind of a loss by its graph, and the node of the loss function; (None, None) if there is none."""
    level = [loss.grad_fn] if loss.grad_fn is not None else []
    for _ in range(depth):
        for node in level:
            kind = NODES.get(node.name())
            if kind == "nll" and any(
                n is not None and n.name() == "LogSoftmaxBackward0" for n, _ in node.next_functions
            ):
                return "cross_entropy", node
            if kind:
                return kind, node
            several = sum(source is not None for source, _ in node.next_functions) > 1
            if several and node.name() in (*SUMS, *FACTORS):  # of two tensors with gradients, as a focal loss is
                return None, None
        level = [n for node in level for n, _ in node.next_functions if n is not None][:16]
    return None, None


def terms_of(node: Any, limit: int = 64) -> int:
    """Number of terms with a gradient that a loss is the sum of, past factors without gradients and signs.

    Args:
        node: grad_fn of the loss.
        limit: max number of nodes.
    """
    terms, pending = 0, [node] if node is not None else []
    for _ in range(limit):
        if not pending:
            break
        current = pending.pop()
        sources = [source for source, _ in current.next_functions if source is not None]
        if current.name() in SUMS or (current.name() in FACTORS and len(sources) == 1):
            pending += sources
        else:
            terms += 1
    return terms

"""Predictions of one batch against its targets: classes, binary targets or values, counted on their device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MAX_CLASSES = 1000
MAX_CLASSES_OF_PAIRS = 40  # of label and prediction
# A label is contradicted if its probability is below the first and that of another class above the second.
MAX_LABEL_PROBABILITY, MIN_CONFIDENCE = 0.1, 0.8
IGNORED = -100  # default ignore_index of torch's losses


def target_kind(targets: Tensor) -> str:
    """Return the kind of targets: classes, one_hot, binary or values."""
    if not targets.is_floating_point():
        return "binary" if targets.dtype == torch.bool else "classes"
    if not bool(((targets == 0) | (targets == 1)).all()):
        return "values"
    rows = targets.flatten(1) if targets.dim() > 1 else targets[:, None] if targets.dim() else targets.reshape(1, 1)
    return "one_hot" if rows.shape[1] > 1 and bool((rows.sum(1) == 1).all()) else "binary"


def measured(outputs: Tensor, targets: Tensor, ignored: int = IGNORED, *, pairs: bool = False) -> dict[str, Any]:
    """Count predictions of one batch, for classes, binary targets or values; tensors stay on their device.

    Args:
        ignored: class label that the loss leaves out (its ignore_index); it is left out of every count.
        pairs: count the pairs of label and prediction too.
    """
    whole = not targets.is_floating_point() and outputs.is_floating_point()
    if whole and outputs.dim() >= 2 and outputs.shape[1] > 1 and targets.dim() == outputs.dim() - 1:
        return _classes(outputs, targets, ignored, pairs)
    if outputs.shape != targets.shape and outputs.numel() != targets.numel():
        return {}
    return _values(outputs, targets)


def _spread(outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    values = outputs.float()
    by_sample = values.reshape(values.shape[0], -1) if values.dim() else values.reshape(1, 1)
    deviation = by_sample.std(0, correction=0).mean()
    return values.mean(), values.std(correction=0), deviation


def _classes(outputs: Tensor, targets: Tensor, ignored: int, pairs: bool) -> dict[str, Any]:
    """outputs (N, K, ...): scores, log-probabilities or probabilities; targets (N, ...): integers."""
    classes = outputs.shape[1]
    scores = outputs.float().movedim(1, -1).reshape(-1, classes)
    labels = targets.reshape(-1).long()
    counted = labels != ignored
    inside = (labels >= 0) & (labels < classes) & counted
    kept = torch.where(counted, labels, labels.clamp(0, classes - 1))  # ignored labels do not widen the range
    labels = labels.clamp(0, classes - 1)
    guess = scores.argmax(1)
    right = (guess == labels) & inside
    total = scores.exp().sum(1)
    normal = ((total - 1).abs() < 1e-3).all()  # log-probabilities; softmax leaves them unchanged
    already = ((scores.sum(1) - 1).abs() < 1e-3).all() & (scores >= 0).all() & ~normal
    chances = torch.where(already, scores, torch.softmax(scores, 1))
    top = chances.amax(1)
    own = chances.gather(1, labels[:, None])[:, 0]
    sure = (top > MIN_CONFIDENCE) & inside
    entropy = -(chances * chances.clamp(min=1e-12).log()).sum(1)
    sums = [(sure & (own < MAX_LABEL_PROBABILITY)).sum(), sure.sum(), (sure & right).sum(), (entropy * counted).sum()]
    result = {
        "correct": right.sum(),
        "counted": counted.sum(),
        "top_third": top_third_correct(torch.where(counted, top, -1.0), right),
        "spread": _spread(outputs),
        "sure": torch.stack([value.to(summable(outputs)) for value in sums]),
        "extremes": torch.stack([-kept.min(), kept.max()]).float(),
    }
    if classes <= MAX_CLASSES:
        ones, zero = inside.float(), torch.zeros(classes, device=outputs.device)
        result["actual"] = zero.index_add(0, labels, ones)
        result["predicted"] = zero.index_add(0, guess, counted.float())
        result["hits"] = zero.index_add(0, labels, right.float())
        if pairs and classes <= MAX_CLASSES_OF_PAIRS:
            cells = torch.zeros(classes * classes, device=outputs.device)
            result["pairs"] = cells.index_add(0, labels * classes + guess, ones).view(classes, classes)
        # -100 is the default ignore_index of torch's losses; other negative labels and labels >= K are outside.
        result["outside"] = (~inside & counted & (targets.reshape(-1) != IGNORED)).sum()
    return result


def contradicted(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the labels that confident predictions contradict.

    outputs: scores, (N, K). targets: classes, int64 (N,). Returns the highest probability of each sample, its class,
    and whether it contradicts the label, (N,) each.
    """
    chances = outputs.float().softmax(1)
    top, guess = chances.max(1)
    own = chances.gather(1, targets.clamp(0, outputs.shape[1] - 1)[:, None])[:, 0]
    inside = (targets >= 0) & (targets < outputs.shape[1])
    return top, guess, inside & (top > MIN_CONFIDENCE) & (own < MAX_LABEL_PROBABILITY)


def summable(outputs: Tensor) -> torch.dtype:
    """Type for sums: double precision, which mps does not have."""
    return torch.float32 if outputs.device.type == "mps" else torch.float64


def top_third_correct(certainty: Tensor, right: Tensor) -> Tensor:
    """Count the correct predictions among the top-scoring third of a batch: (correct, size of that third).

    certainty: negative for labels that are not counted.
    """
    third = max(1, len(right) // 3)
    values, picked = certainty.topk(third)
    return torch.stack([right[picked].float().sum(), (values >= 0).float().sum()])


def _values(outputs: Tensor, targets: Tensor) -> dict[str, Any]:
    """Values, or binary targets: an accuracy only where the targets are 0 and 1."""
    guess, truth = outputs.float().reshape(-1), targets.float().reshape(-1)
    yes_no = bool(((truth == 0) | (truth == 1)).all()) if truth.device.type == "cpu" else targets.dtype == torch.bool
    result: dict[str, Any] = {
        "spread": _spread(outputs),
        "extremes": torch.stack([-truth.min(), truth.max()]),
        "moments": torch.stack(
            [
                torch.full_like(truth[0], truth.numel()),
                truth.sum(),
                truth.square().sum(),
                (guess - truth).square().sum(),
            ]
        ),
    }
    if yes_no and outputs.shape == targets.shape and (outputs.dim() == 1 or outputs.shape[-1] == 1):
        # Probabilities are above one half where logits are above zero.
        are_chances = (guess.amin() >= 0) & (guess.amax() <= 1)
        said = torch.where(are_chances, guess > 0.5, guess > 0)
        right = said == (truth > 0.5)
        result |= {"correct": right.sum(), "counted": torch.full_like(right.sum(), truth.numel())}
        result["top_third"] = top_third_correct((guess - torch.where(are_chances, 0.5, 0.0)).abs(), right)
        counts = truth.sum()
        result["actual"] = torch.stack([truth.numel() - counts, counts])
        positive = said.float().sum()
        result["predicted"] = torch.stack([truth.numel() - positive, positive])
        hit = (said & (truth > 0.5)).float().sum()
        result["hits"] = torch.stack([((~said) & (truth <= 0.5)).float().sum(), hit])
        result["outside"] = None
    elif outputs.dim() != 2 or outputs.shape != targets.shape or not yes_no or outputs.shape[1] > MAX_CLASSES:
        return result
    elif targets.device.type == "cpu" and not bool((targets.sum(1) == 1).all()):  # any number of labels per sample
        result["labelled"] = torch.cat([targets.float().sum(0), truth.new_full((1,), len(targets))])
    else:
        one_hot = targets.float()
        best, label = outputs.argmax(1), one_hot.argmax(1)
        zero, ones = torch.zeros(outputs.shape[1], device=outputs.device), torch.ones(len(best), device=outputs.device)
        hits = (best == label).sum()
        result |= {"correct": hits, "counted": torch.full_like(hits, len(best)), "outside": None}
        result["actual"] = zero.index_add(0, label, ones)
        result["predicted"] = zero.index_add(0, best, ones)
        result["hits"] = zero.index_add(0, label, (best == label).float())
    return result

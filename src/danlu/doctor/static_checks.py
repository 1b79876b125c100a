"""Checks before training, from data and model alone.

Images are compared as thumbnails. Candidates with equal parts of their difference hash (Krawetz 2013: which neighbour
is brighter, 64 bits) are compared pixel by pixel, so that a hash collision alone never counts as a duplicate.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from danlu.doctor.finding import Finding
from danlu.doctor.places import BEFORE_TRAINING
from danlu.doctor.wording import worded_before_training

THUMBNAIL_SIDE = 32  # pixels
MAX_DIFFERENCE = 0.045  # mean difference of two thumbnails over their contrast up to which they are the same image
NEIGHBOURS = 6  # with which each image is compared, in each of four orders
MIN_CONTRAST = 3.0  # standard deviation, of 255; images below it look like any other
MAX_BLANK_RANGE = 32  # of 255; pixel values of a blank image span at most this
MAX_NAMED = 8  # samples or pairs in a text
FIT_STEPS, FIT_LR = 60, 1e-3  # of Adam, when fitting one batch
FITTED, FITTED_STEPS = 0.7, 3  # fraction of the first loss; steps in a row below it at which the batch counts as fitted


@dataclass(frozen=True)
class CheckedSplit:
    """Sample indices of each split, int64."""

    train: Tensor
    val: Tensor
    test: Tensor


@dataclass
class BatchFit:
    """Fit of one batch by `examine_model`: its limit, and whether it sufficed.

    seconds: of steps, after which it ends. judged: False if it ended too early to tell whether the model can fit.
    """

    seconds: float = math.inf
    judged: bool = True


def thumbnails(images: Tensor) -> np.ndarray:
    """Reduce uint8 (N, C, H, W) to grey float32 (N, S, S), S = min(32, H, W)."""
    side = min(THUMBNAIL_SIDE, *images.shape[-2:])
    parts = []
    for some in images.split(4096):
        grey = some.float().mean(1, keepdim=True)
        parts.append(nn.functional.adaptive_avg_pool2d(grey, side)[:, 0])
    return torch.cat(parts).numpy() if parts else np.zeros((0, side, side), np.float32)


def hashes(small: np.ndarray) -> np.ndarray:
    """Difference hashes of thumbnails, uint64 (N,)."""
    shape = nn.functional.adaptive_avg_pool2d(torch.from_numpy(small)[:, None], (8, 9))[:, 0].numpy()
    bits = (shape[:, :, 1:] > shape[:, :, :-1]).reshape(len(small), 64)
    return np.packbits(bits, axis=1).view(np.uint64).reshape(-1)


def pairs(small: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Pairs of samples with the same image, int64 (P, 2), the lower index first.

    Samples that agree in a quarter of the hash are sorted by brightness, and each is compared with the next few: large
    groups need no quadratic time, and a copy is missed only where all quarters differ.
    """
    flat = small.reshape(len(small), -1)
    bright, contrast = flat.mean(1), flat.std(1)
    found = [np.zeros((0, 2), np.int64)]
    for quarter in codes.view(np.uint16).reshape(len(codes), 4).T:
        order = np.lexsort((bright, quarter))
        for step in range(1, NEIGHBOURS + 1):
            a, b = order[:-step], order[step:]
            # An image of low contrast is similar to every other: no evidence of a leak.
            worth = (quarter[a] == quarter[b]) & (contrast[a] > MIN_CONTRAST)
            worth &= np.abs(bright[a] - bright[b]) <= MAX_DIFFERENCE * contrast[a]
            worth &= np.abs(contrast[a] - contrast[b]) <= MAX_DIFFERENCE * contrast[a]
            a, b = a[worth], b[worth]
            for start in range(0, len(a), 8192):
                one, other = a[start : start + 8192], b[start : start + 8192]
                near = np.abs(flat[one] - flat[other]).mean(1) <= MAX_DIFFERENCE * contrast[one]
                found.append(np.sort(np.stack([one[near], other[near]], 1), axis=1))
    return np.unique(np.concatenate(found), axis=0)


def examine_images(
    images: Tensor,
    targets: Tensor | None,
    split: CheckedSplit,
    name_of: Callable[[int], str],
    language: str | None = None,
) -> list[Finding]:
    """Find leaks, duplicates and blank images. images: uint8 (N, C, H, W); targets: int64 (N,) classes, or None."""
    small = thumbnails(images)
    alike = pairs(small, hashes(small))
    part = np.full(len(small), -1)
    for number, index in enumerate((split.train, split.val, split.test)):
        part[index.numpy()] = number
    alike = alike[(part[alike] >= 0).all(1)] if len(alike) else alike
    findings = []
    across = alike[part[alike[:, 0]] != part[alike[:, 1]]] if len(alike) else alike
    if len(across):
        held = len(split.val) + len(split.test)
        twins = len(np.unique(across[part[across] > 0]))
        fraction = twins / max(held, 1)
        facts = {"pairs": len(across), "twins": twins, "held": held, "fraction": fraction} | _named(across, name_of)
        severity = "error" if fraction > 0.02 else "warning" if fraction > 0.005 else "note"
        findings.append(_found("data.leak", severity, 0.9, language, facts))
    if len(alike):
        conflicts = 0
        if targets is not None and targets.ndim == 1:
            labels = targets.numpy()
            conflicts = int((labels[alike[:, 0]] != labels[alike[:, 1]]).sum())
        fraction = len(np.unique(alike)) / len(small)
        if conflicts or fraction > 0.01:
            facts = {"pairs": len(alike), "conflicts": conflicts, "fraction": fraction} | _named(alike, name_of)
            findings.append(
                _found("data.duplicates", "warning" if conflicts or fraction > 0.05 else "note", 0.85, language, facts)
            )
    # A thumbnail hides a small object as well as noise, so that the pixels have the last word.
    blank = [i for i in np.flatnonzero(small.reshape(len(small), -1).std(1) < 0.5).tolist() if _even(images[i])]
    if blank:
        names = ", ".join(name_of(i) for i in blank[:MAX_NAMED])
        facts = {"blank": len(blank), "samples": len(small), "names": names}
        findings.append(
            _found("data.degenerate", "warning" if len(blank) > 0.01 * len(small) else "note", 0.9, language, facts)
        )
    return findings


def _even(image: Tensor) -> bool:
    """Return whether no channel of uint8 (C, H, W) varies by more than noise."""
    flat = image.flatten(1).int()
    return bool((flat.amax(1) - flat.amin(1)).max() <= MAX_BLANK_RANGE)


def _named(alike: np.ndarray, name_of: Callable[[int], str]) -> dict[str, str]:
    return {"names": "; ".join(f"{name_of(int(a))} = {name_of(int(b))}" for a, b in alike[:MAX_NAMED])}


def examine_labels(
    targets: Tensor, split: CheckedSplit, classes: Sequence[str], language: str | None = None
) -> list[Finding]:
    """Find uneven classes, and classes without training samples. targets: int64 (N,)."""
    counts = torch.bincount(targets[split.train], minlength=len(classes))
    findings = []
    present = counts[counts > 0]
    if len(present) > 1 and present.max() > 10 * present.min():
        rare, common = int(counts.where(counts > 0, counts.max()).argmin()), int(counts.argmax())
        facts = {
            "rare": classes[rare],
            "count": int(counts[rare]),
            "common": classes[common],
            "most": int(counts[common]),
        }
        findings.append(_found("data.imbalance", "warning", 0.8, language, facts))
    held = torch.bincount(targets[torch.cat([split.val, split.test])], minlength=len(classes))
    lacking = [classes[k] for k in range(len(classes)) if held[k] and not counts[k]]
    if lacking:
        findings.append(
            _found("data.split_shift", "error", 0.95, language, {"classes": ", ".join(lacking[:MAX_NAMED])})
        )
    return findings


def examine_model(
    model: nn.Module,
    loss_fn: Callable[[Any, Any], Tensor],
    inputs: Tensor,
    targets: Any,
    language: str | None = None,
    *,
    judge_first_loss: bool = True,
    fit: BatchFit | None = None,
) -> list[Finding]:
    """Train a copy of the model on one batch: check the first loss, unreached parameters, and whether it can fit.

    loss_fn: (outputs, targets) -> scalar. judge_first_loss: False if the last layer is fitted before training, as for
    pretrained networks. fit: limit of the fit. The model itself and torch's random generator are not changed.
    """
    generator = torch.random.get_rng_state()
    try:
        return _examine_copy(
            copy.deepcopy(model).train(), loss_fn, inputs, targets, language, judge_first_loss, fit or BatchFit()
        )
    finally:
        torch.random.set_rng_state(generator)


def _examine_copy(
    model: nn.Module,
    loss_fn: Callable[[Any, Any], Tensor],
    inputs: Tensor,
    targets: Any,
    language: str | None,
    judge_first_loss: bool,
    fit: BatchFit,
) -> list[Finding]:
    findings = []
    outputs = model(inputs)
    loss = loss_fn(outputs, targets)
    loss.backward()
    first = outputs[0] if isinstance(outputs, tuple) else outputs
    classes = isinstance(first, Tensor) and first.ndim == 2 and first.shape[1] > 1 and not targets.is_floating_point()
    if classes and judge_first_loss:
        usual = math.log(first.shape[1])
        if not 0.5 * usual < float(loss.detach()) < 1.8 * usual + 0.3:
            facts = {"loss": float(loss.detach()), "usual": usual, "classes": first.shape[1]}
            findings.append(_found("model.bad_init", "warning", 0.8, language, facts))
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    unreached = [name for name, p in trained if p.grad is None]
    if unreached:
        facts = {"count": len(unreached), "names": ", ".join(unreached[:MAX_NAMED])}
        findings.append(_found("model.unreached", "error", 0.9, language, facts))
    optimizer = torch.optim.Adam([p for _, p in trained], FIT_LR)
    losses, end = [float(loss.detach())], time.monotonic() + fit.seconds
    for _ in range(FIT_STEPS):
        optimizer.zero_grad()
        loss = loss_fn(model(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        if all(value < FITTED * losses[0] for value in losses[-FITTED_STEPS:]):
            break
        if time.monotonic() >= end:
            break
    taken, poor = len(losses) - 1, losses[-1] > 0.9 * losses[0]
    fit.judged = taken == FIT_STEPS or not poor
    if not math.isfinite(losses[-1]) or (poor and fit.judged):
        facts = {"first": losses[0], "last": losses[-1], "steps": taken, "samples": len(inputs)}
        findings.append(_found("fit.not_learning", "warning", 0.75, language, facts))
    return findings


def _found(code: str, severity: str, confidence: float, language: str | None, facts: dict[str, Any]) -> Finding:
    return worded_before_training(Finding(code, severity, confidence, BEFORE_TRAINING, facts), language)

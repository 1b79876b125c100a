"""Match anchors to objects.

Every rule takes a batch of objects and returns `matched`, int64 (N, A): the index of the anchor's object, BACKGROUND,
or IGNORED (not in any loss). Padding and ignored objects are never matched, no anchor is matched to an object at IoU 0,
and anchors in an ignored region are IGNORED instead of BACKGROUND. Nothing has a gradient.
N images, M objects (padded), A anchors, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from danlu.detection.anchors import cells
from danlu.detection.boxes import columns, columns_iou, iou, iou_matrix
from danlu.objects import ObjectBatch

BACKGROUND = -1
IGNORED = -2
MIN_COVERED = 0.5  # an ignored region that covers more than this fraction of an anchor makes it IGNORED
# IoU values computed in one operation: as many as fit in a CPU's cache, or as fill an accelerator.
BLOCK = {"cpu": 2**16, "else": 2**25}


@torch.no_grad()
def match_by_threshold(
    objects: ObjectBatch, anchors: Tensor, *, high: float, low: float, best_per_object: bool
) -> Tensor:
    """Match each anchor to the object with max IoU if >= `high`; below `low` it is background, in between IGNORED.

    anchors: (A, 4), or (N, A, 4). best_per_object: anchors with the max IoU of an object (all of them, if several tie)
    are matched regardless of the thresholds. Faster R-CNN .7/.3, its second stage .5/.5, RetinaNet .5/.4.
    """
    rows, back = _overlap_rows(objects, anchors)
    shape = torch.Size([len(objects), anchors.shape[-2]])
    matched = _by_threshold(rows, shape, anchors.device, high, low, best_per_object)
    return leave_out_ignored(matched[back], objects, anchors)


def match_overlaps(overlaps: Tensor, *, high: float, low: float, best_per_object: bool) -> Tensor:
    """`match_by_threshold` on given IoUs (N, M, A); rows of zeros match nothing."""
    shape = torch.Size([len(overlaps), overlaps.shape[2]])
    return _by_threshold(enumerate(overlaps.unbind(1)), shape, overlaps.device, high, low, best_per_object)


def _by_threshold(
    rows: Iterable[tuple[int, Tensor]],
    shape: torch.Size,
    device: torch.device,
    high: float,
    low: float,
    best_per_object: bool,
) -> Tensor:
    best = torch.zeros(shape, device=device)
    index = torch.zeros(shape, dtype=torch.int64, device=device)
    kept = torch.zeros(shape, dtype=torch.bool, device=device)
    for m, overlaps in rows:
        n = len(overlaps)
        index[:n].masked_fill_(overlaps > best[:n], m)
        torch.maximum(best[:n], overlaps, out=best[:n])
        if best_per_object:
            top = overlaps.amax(1, keepdim=True)
            # An object with IoU 0 everywhere has no best anchor: all of them would tie.
            kept[:n].logical_or_(overlaps == top.masked_fill(top <= 0, 2))
    unmatched = torch.where(best < low, BACKGROUND, IGNORED)
    return torch.where(((best >= high) & (best > 0)) | kept, index, unmatched)


def _overlap_rows(objects: ObjectBatch, anchors: Tensor) -> tuple[Iterator[tuple[int, Tensor]], Tensor]:
    """Yield (m, IoUs (n, A)) of every image's m-th object with the anchors.

    Images are sorted by descending number of objects and only the n that have an m-th object are in its row, so padding
    costs nothing and no matrix of all objects is in memory. Also returns the inverse order, int64 (N,).
    """
    most = objects.labels.shape[1]
    last = (objects.valid * torch.arange(1, most + 1, device=anchors.device)).amax(1)
    order = last.argsort(descending=True)
    # Reading the counts from an accelerator would synchronise: there every image is in every row.
    counts = last[order].tolist() if last.device.type == "cpu" else [most] * len(order)
    a = columns(_only(objects.boxes, objects.valid)[order])
    b = columns(anchors)[:, None] if anchors.ndim == 2 else columns(anchors[order])
    block = max(1, BLOCK.get(last.device.type, BLOCK["else"]) // max(1, len(order) * anchors.shape[-2]))

    def rows() -> Iterator[tuple[int, Tensor]]:
        for start in range(0, max(counts, default=0), block):
            n = sum(count > start for count in counts)
            overlaps = columns_iou(a[:, :n, start : start + block, None], b[:, :n, None])
            yield from enumerate(overlaps.unbind(1), start)

    return rows(), order.argsort()


@torch.no_grad()
def match_greedily(objects: ObjectBatch, anchors: Tensor, *, threshold: float) -> Tensor:
    """Match pairs by descending IoU, removing object and anchor of each pair; then the other anchors by the threshold.

    Every object with IoU > 0 to some anchor gets at least one, while anchors last. anchors: (A, 4) or (N, A, 4).
    Dive into Deep Learning 14.4.3; defines SSD's "best jaccard overlap" when two objects have the same best anchor.
    """
    rows, back = _overlap_rows(objects, anchors)
    overlaps = anchors.new_zeros(*objects.labels.shape, anchors.shape[-2])
    for m, row in rows:
        overlaps[: len(row), m] = row
    return leave_out_ignored(match_overlaps_greedily(overlaps, threshold=threshold)[back], objects, anchors)


def match_overlaps_greedily(overlaps: Tensor, *, threshold: float) -> Tensor:
    """`match_greedily` on given IoUs (N, M, A)."""
    matched = match_overlaps(overlaps, high=threshold, low=threshold, best_per_object=False)
    best, choice = overlaps.max(2)  # (N, M): each object's best free anchor
    open_ = best > 0
    taken = torch.zeros_like(matched, dtype=torch.bool)
    objects = torch.arange(overlaps.shape[1], device=overlaps.device)
    # A pair that is best for both sides will be chosen by the greedy rule, whatever happens elsewhere. All such pairs
    # are matched at once, so a few rounds suffice.
    while bool(open_.any()):
        rivals = overlaps.gather(2, choice[:, None].expand(-1, len(objects), -1))  # [n, i, j]: i's IoU with j's choice
        settled = open_ & (rivals.masked_fill(~open_[..., None], -1).argmax(1) == objects)
        image, winner = settled.nonzero(as_tuple=True)
        matched[image, choice[image, winner]] = winner
        taken[image, choice[image, winner]] = True
        open_ = open_ & ~settled
        image, loser = (open_ & taken.gather(1, choice)).nonzero(as_tuple=True)
        left, choice[image, loser] = overlaps[image, loser].masked_fill(taken[image], 0).max(1)
        open_[image, loser] = left > 0
    return matched


@torch.no_grad()
def match_simota(
    objects: ObjectBatch,
    boxes: Tensor,
    logits: Tensor,
    objectness: Tensor | None,
    *,
    map_sizes: Sequence[tuple[int, int]],
    strides: Sequence[float],
    radius: float,
    top: int,
    iou_weight: float,
) -> tuple[Tensor, Tensor]:
    """SimOTA: match each object to the cells near its centre with the best predictions; better ones get more cells.

    boxes: predictions (N, A, 4), xyxy. logits: (N, A, K). objectness: logits (N, A) or None. Cells as in
    `anchors.cells`: candidates of an object are those with centres less than `radius` strides away in x and in y.
    An object gets as many as the sum of its `top` largest IoUs, at least one, those with the lowest cost
    BCE(sqrt(class x objectness)) - iou_weight log IoU; a cell wanted by several goes to the one with the lowest cost.
    Returns matched (N, A) and the IoU of each matched prediction (N, A), 0 elsewhere. Ge et al. 2021 (YOLOX).
    """
    index, near = cells_near(objects.boxes, map_sizes, strides, radius)  # (N, M, C)
    near &= objects.valid[..., None]
    overlap = iou(objects.boxes[:, :, None], _gather(boxes.to(objects.boxes.dtype), index)) * near
    cost = _class_cost(objects.labels, logits, objectness, index) - iou_weight * (overlap + 1e-8).log()
    cost = cost.masked_fill(~near, torch.inf)

    wanted = overlap.topk(min(top, index.shape[2]), dim=2).values.sum(2, keepdim=True).int().clamp(min=1)
    rank = cost.argsort(dim=2, stable=True).argsort(dim=2)
    cost = cost.masked_fill(rank >= wanted, torch.inf)

    flat = index.flatten(1)
    least = cost.new_full(boxes.shape[:2], torch.inf).scatter_reduce(1, flat, cost.flatten(1), "amin")
    won = (cost < torch.inf) & (cost == least.gather(1, flat).view_as(cost))
    most = objects.labels.shape[1]
    names = torch.arange(most, device=index.device)[:, None].where(won, most).flatten(1)
    matched = names.new_full(boxes.shape[:2], most).scatter_reduce(1, flat, names, "amin")  # the first of equals
    won &= matched.gather(1, flat).view_as(index) == torch.arange(most, device=index.device)[:, None]
    quality = torch.zeros_like(least).scatter_reduce(1, flat, (overlap * won).flatten(1), "amax")
    matched = matched.masked_fill(matched == most, BACKGROUND)
    squares = torch.cat(cells(map_sizes, strides, offset=0.5)).to(boxes.device)
    return leave_out_ignored(matched, objects, squares), quality


def cells_near(
    boxes: Tensor, map_sizes: Sequence[tuple[int, int]], strides: Sequence[float], radius: float
) -> tuple[Tensor, Tensor]:
    """The C candidate cells of all levels within `radius` strides of the boxes' centres, in x and in y.

    boxes: (N, M, 4). Returns their indices, int64 (N, M, C), and bool (N, M, C): inside the radius and the map.
    """
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    steps = torch.arange(math.ceil(2 * radius), device=boxes.device)
    numbers, near, before = [], [], 0
    for (height, width), stride in zip(map_sizes, strides, strict=True):
        place = (centres / stride)[..., None]  # (N, M, 2, 1), in cells; a cell's centre is its index + 0.5
        cell = (place - radius - 0.5).floor().long() + 1 + steps
        limits = torch.tensor([width, height], device=boxes.device)[:, None]
        inside = (cell >= 0) & (cell < limits) & (cell + 0.5 < place + radius)
        column, row = torch.minimum(cell.clamp(min=0), limits - 1).unbind(2)
        numbers.append((before + row[..., :, None] * width + column[..., None, :]).flatten(2))
        near.append((inside[:, :, 1, :, None] & inside[:, :, 0, None, :]).flatten(2))
        before += height * width
    return torch.cat(numbers, 2), torch.cat(near, 2)


def _class_cost(labels: Tensor, logits: Tensor, objectness: Tensor | None, index: Tensor) -> Tensor:
    """Binary cross-entropy over the classes of each candidate (N, M, C) against its object's class."""
    probabilities = _gather(logits, index).float().sigmoid()
    if objectness is not None:
        probabilities = (probabilities * _gather(objectness[..., None], index).float().sigmoid()).sqrt()
    no, yes = (-torch.log1p(-probabilities)).clamp(max=100), (-probabilities.log()).clamp(max=100)
    own = labels.clamp(min=0)[:, :, None, None].expand(*index.shape, 1)
    return no.sum(3) + (yes - no).gather(3, own)[..., 0]


def leave_out_ignored(matched: Tensor, objects: ObjectBatch, anchors: Tensor) -> Tensor:
    """Set `matched` to IGNORED for background anchors covered by an ignored region. anchors: (A, 4) or (N, A, 4)."""
    ignore = objects.ignore
    if ignore.device.type == "cpu" and not ignore.any():  # reading from an accelerator would synchronise
        return matched
    covered = iou_matrix(_only(objects.boxes, ignore), anchors, crowd=ignore).amax(1) > MIN_COVERED
    return matched.masked_fill(covered & (matched == BACKGROUND), IGNORED)


def matched_boxes(objects: ObjectBatch, matched: Tensor) -> Tensor:
    """The box of each anchor's object, (N, A, 4); undefined where there is none."""
    return _gather(objects.boxes, matched.clamp(min=0))


def matched_labels(objects: ObjectBatch, matched: Tensor) -> Tensor:
    """The class of each anchor's object, int64 (N, A); BACKGROUND and IGNORED as in `matched`."""
    return torch.where(matched >= 0, objects.labels.gather(1, matched.clamp(min=0)), matched)


def _gather(table: Tensor, index: Tensor) -> Tensor:
    """Rows of each image's table: (N, A, D), (N, ...) -> (N, ..., D)."""
    flat = index.flatten(1)[..., None].expand(-1, -1, table.shape[2])
    return table.gather(1, flat).view(*index.shape, table.shape[2])


def _only(boxes: Tensor, mask: Tensor) -> Tensor:
    """Set boxes (N, M, 4) outside the mask (N, M) to zero area, so that their IoU is 0."""
    return boxes * mask[..., None]

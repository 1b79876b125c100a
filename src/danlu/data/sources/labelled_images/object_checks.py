"""Check the boxes of labelled images: unusable ones are skipped, others clipped or kept, and each is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from danlu.config import DataConfig
from danlu.data.dataset import Problem
from danlu.data.sources.labelled_images.annotated_sizes import ROUNDING
from danlu.data.sources.labelled_images.labelled import Labelled, Thing, too_many_bad, where_of
from danlu.data.sources.labelled_images.repeated_boxes import MIN_IOU, nearly_repeated, repeated
from danlu.message import message
from danlu.refuse import Refusal


@dataclass(frozen=True, eq=False)
class _Objects:
    """All T objects of the images.

    owner: index of their image (T,). boxes: float32 (T, 4), in pixels. edges: width, height, width, height of their
    image, (T, 4). clipped: boxes, clipped to the image. beyond: pixels by which a box reaches beyond it, (T,).
    """

    found: Sequence[Labelled]
    things: Sequence[Thing]
    owner: np.ndarray
    boxes: np.ndarray
    edges: np.ndarray
    clipped: np.ndarray
    beyond: np.ndarray

    def where(self, i: int) -> str:
        """Name of object `i` in problems."""
        return where_of(self.found[self.owner[i]], self.things[i])

    def named(self, i: int) -> str:
        """Corners of the box of object `i` as text."""
        return "(" + ", ".join(f"{float(value):g}" for value in self.boxes[i]) + ")"


def usable_objects(
    path: Path,
    found: Sequence[Labelled],
    sizes: Sequence[tuple[int, int]],
    config: DataConfig,
    problems: list[Problem],
    notes: list[str],
) -> tuple[list[Thing], np.ndarray, np.ndarray]:
    """Check objects; returns usable ones, their boxes float32 (T, 4) clipped to the image, image indices (T,)."""
    objects = _measured(found, sizes)
    bad, counts = _unusable(objects, problems)
    _note_clipped(objects, bad, problems)
    _note_repeated(objects, bad, problems)
    notes += _note_nearly_repeated(objects, bad, problems)
    notes += _counted(counts, bad, objects.beyond)
    if config.on_bad != "skip" and too_many_bad(int(bad.sum()), len(bad)):
        raise _too_many_unusable(path, bad, problems)
    good = np.flatnonzero(~bad)
    return [objects.things[i] for i in good.tolist()], objects.clipped[good], objects.owner[good]


def _measured(found: Sequence[Labelled], sizes: Sequence[tuple[int, int]]) -> _Objects:
    """Return all objects, with boxes in pixels. sizes: (height, width) of each image."""
    things = [thing for one in found for thing in one.things]
    owner = np.repeat(np.arange(len(found)), [len(one.things) for one in found])
    height, width = np.asarray(sizes, np.float64)[owner].reshape(-1, 2).T
    edges = np.stack([width, height, width, height], axis=1)
    boxes = np.array([thing.box for thing in things], np.float64).reshape(-1, 4)
    scale = np.where(np.array([one.fractions for one in found])[owner][:, None], edges, 1.0)
    with np.errstate(all="ignore"):
        boxes = (boxes * scale).astype(np.float32)
        clipped = np.minimum(boxes.clip(0), edges.astype(np.float32))
        beyond = np.maximum(-boxes, boxes - edges).max(axis=1, initial=0)
    return _Objects(found, things, owner, boxes, edges, clipped, beyond)


def _unusable(objects: _Objects, problems: list[Problem]) -> tuple[np.ndarray, Counter[str]]:
    """Add a problem for each unusable object; returns which they are, bool (T,), and their number by kind of fault."""
    x1, y1, x2, y2 = objects.boxes.T
    with np.errstate(all="ignore"):
        faults = {
            "": np.array([bool(thing.fault) for thing in objects.things], bool),  # reported by the reader
            "not finite": ~np.isfinite(objects.boxes).all(axis=1),
            "reversed": (x2 < x1) | (y2 < y1),
            "empty": (x2 == x1) | (y2 == y1),
            "outside the image": ((objects.clipped[:, 2:] - objects.clipped[:, :2]) <= 0).any(axis=1),
        }
    bad = np.zeros(len(objects.things), bool)
    counts: Counter[str] = Counter()
    for fault, rows in faults.items():
        for i in np.flatnonzero(rows & ~bad).tolist():
            own = objects.things[i].fault
            reason = own or message("data.problem.box_fault", "box {box} is {fault}", box=objects.named(i), fault=fault)
            kind = fault or own.partition(":")[0]
            problems.append(Problem(objects.where(i), reason, fault=kind))
            counts[kind] += 1
        bad |= rows
    return bad, counts


def _note_clipped(objects: _Objects, bad: np.ndarray, problems: list[Problem]) -> None:
    """Add a problem for each box that reaches beyond its image by more than rounding."""
    for i in np.flatnonzero((objects.beyond > ROUNDING) & ~bad).tolist():
        reason = message(
            "data.problem.box_reaches_beyond_image",
            "box {box} reaches beyond the image of {size}",
            box=objects.named(i),
            size=f"{objects.edges[i, 0]:.0f} x {objects.edges[i, 1]:.0f}",
        )
        problems.append(Problem(objects.where(i), reason, "clipped", "clipped"))


def _note_repeated(objects: _Objects, bad: np.ndarray, problems: list[Problem]) -> None:
    """Add a problem for each box that is that of an earlier object of its class."""
    for i in repeated(objects.things, objects.boxes, objects.owner, ~bad):
        reason = message("data.problem.box_there_second_time", "box {box} is there a second time", box=objects.named(i))
        problems.append(Problem(objects.where(i), reason, "kept", "repeated"))


def _note_nearly_repeated(objects: _Objects, bad: np.ndarray, problems: list[Problem]) -> list[str]:
    """Add a problem for each box that is nearly that of an earlier object of its class; returns a note on them."""
    near = nearly_repeated(objects.things, objects.boxes, objects.owner, ~bad)
    for i, first, iou in near:
        text = "box {box} is nearly that of {other} (IoU {iou:.2f}): the same object twice?"
        reason = message(
            "data.problem.box_nearly_again", text, box=objects.named(i), other=objects.things[first].name, iou=iou
        )
        problems.append(Problem(objects.where(i), reason, "kept", "nearly repeated"))
    if not near:
        return []
    text = (
        "{count} {count:box|boxes} in {images} images {count:is|are} nearly those of another object of their "
        "class (IoU above {least:g})"
    )
    images = len({int(objects.owner[i]) for i, *_ in near})
    return [message("data.note.boxes_nearly_repeated", text, count=len(near), images=images, least=MIN_IOU)]


def _counted(counts: Counter[str], bad: np.ndarray, beyond: np.ndarray) -> list[str]:
    notes = []
    if bad.any():
        kinds = ", ".join(f"{n} {fault}" for fault, n in counts.items() if n)
        notes.append(
            message(
                "data.note.objects_left_out",
                "{count} of {total} objects are left out: {kinds}",
                count=int(bad.sum()),
                total=len(bad),
                kinds=kinds,
            )
        )
    far, near = int(((beyond > ROUNDING) & ~bad).sum()), int(((beyond > 0) & (beyond <= ROUNDING) & ~bad).sum())
    if far:
        notes.append(
            message(
                "data.note.boxes_reach_beyond_image",
                "{count} {count:box reaches|boxes reach} beyond {count:its|their} image and {count:is|are} "
                "clipped to it",
                count=far,
            )
        )
    if near:
        notes.append(
            message(
                "data.note.boxes_reach_up_px",
                "{count} {count:box reaches|boxes reach} up to {limit:g} px beyond {count:its|their} image and "
                "{count:is|are} clipped to it",
                count=near,
                limit=ROUNDING,
            )
        )
    return notes


def _too_many_unusable(path: Path, bad: np.ndarray, problems: list[Problem]) -> Refusal:
    """Error for data most of whose objects are faulty."""
    first = ", ".join(f"{p.where}: {p.reason}" for p in problems if p.done == "skipped")
    return Refusal(
        message(
            "data.refuse.objects_cannot_used_use",
            "{path}: {bad} of {things} objects cannot be used ({first}); or use --on-bad skip",
            path=path,
            bad=bad.sum(),
            things=len(bad),
            first=first if len(first) < 300 else f"{first[:300]} ...",
        )
    )

"""Collect images, objects and skipped entries while reading annotation files.

A bad entry is skipped; more than 5 % of them stop the run unless --on-bad skip.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from danlu.config import DataConfig
from danlu.data.annotations import Polygons, Shape
from danlu.data.dataset import UNASSIGNED, Dataset, Problem
from danlu.data.files.survey import File, Survey, surroundings
from danlu.data.image_index import ImageIndex
from danlu.data.sources.labelled_images.audit import assemble
from danlu.data.sources.labelled_images.box_forms import BoxForm
from danlu.data.sources.labelled_images.labelled import Labelled, Thing, too_many_bad
from danlu.data.sources.labelled_images.shared_images import SharedImages
from danlu.data.split_names import splits_of_folders
from danlu.message import message
from danlu.refuse import Refusal
from danlu.task_spec import ObjectTask

MISSING = "data.problem.missing_image"  # id of the reason
SEVERAL = "data.problem.ambiguous"
MAX_GAP = 0.05  # between the ends of a closed line, as a fraction of the diagonal of its box


class Reading:
    """Collector of the content of annotation files of one format, from which it creates the checked Dataset.

    form: name of the format. classes: names in the order of their numbers, where the format numbers them; otherwise
    they are collected from the objects and sorted.
    """

    def __init__(self, survey: Survey, config: DataConfig, form: str, classes: Sequence[str] | None = None) -> None:
        self.survey, self.config, self.form = survey, config, form
        self.index = ImageIndex.of(surroundings(survey))
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.found: dict[tuple[Path, int], Labelled] = {}
        self.fixed = classes is not None
        self.labels: dict[str, int] = {one_form(name): k for k, name in enumerate(classes or ())}
        self.entries = self.bad = 0
        self.missing: set[tuple[str, int]] = set()  # names of images that were not found, and their split
        self.owners: dict[tuple[Path, int], tuple[str, tuple[int, int, int]]] = {}  # annotation file and its nearness
        self.has_shapes = False
        self.shared = SharedImages()  # images that several annotation files name
        self.left_out: Counter[str] = Counter()  # kinds of shapes that are not read
        self.partly_read: set[tuple[Path, int]] = set()  # images with such shapes
        self.closed_lines = 0  # read as polygons
        self.box_form: BoxForm = "corners"  # of the numbers in the files

    def skip(self, where: str, reason: str) -> None:
        """Record an unusable entry."""
        self.entries += 1
        self.bad += 1
        self.problems.append(Problem(where, reason))

    def image(
        self,
        name: str,
        where: str,
        *,
        near: tuple[str, ...] = (),
        split: int = UNASSIGNED,
        size: tuple[int, int] | None = None,
        fractions: bool = False,
        source: str = "",
    ) -> Labelled | None:
        """Return the record of the image `name`, created at the first call; None, and a problem, if it is not found.

        where: the annotation file and entry. near: its folder. size: (height, width). fractions: boxes are in [0, 1].
        source: the annotation file, of formats whose files each hold the objects of many images.
        """
        found = self.index.find(name, near, split)
        if isinstance(found, str):
            if (name, split) not in self.missing:
                self.problems.append(Problem(f"{name} (of {where})", found))
            self.missing.add((name, split))
            return None
        one = self.record(found, where, split=split, size=size, fractions=fractions)
        if source:
            self.shared.begin(one, source)
        return one

    def own_image(
        self,
        name: str,
        where: str,
        *,
        near: tuple[str, ...],
        split: int = UNASSIGNED,
        size: tuple[int, int] | None = None,
    ) -> Labelled | None:
        """Return the record of the image of one annotation file, for formats with such a file per image.

        Of two files that lead to the same image the nearer one is read, and the other one is a problem: its own image
        is missing, and another of that name was found.
        """
        one = self.image(name, where, near=near, split=split, size=size)
        file = self.index.find(name, near, split)
        if one is None or isinstance(file, str):
            return None
        key, nearness = (file.path, split), self.index.nearness(file, name, near)
        owner, before = self.owners.get(key, (where, nearness))
        if owner == where or nearness > before:
            self.owners[key] = (where, nearness)
        if owner == where:
            return one
        read, other = (where, owner) if nearness > before else (owner, where)
        self.problems.append(
            Problem(
                other,
                message(
                    "data.problem.image_already_read",
                    "missing image: {file} is that of {read}",
                    file=file.relative,
                    read=read,
                ),
            )
        )
        self.missing.add((other, split))
        if other == where:
            return None
        one.things.clear()
        one.where, one.size = where, size
        return one

    def record(
        self,
        file: File,
        where: str,
        *,
        split: int = UNASSIGNED,
        size: tuple[int, int] | None = None,
        fractions: bool = False,
    ) -> Labelled:
        """Return the record of an image file, created at the first call."""
        key = (file.path, split)
        if key not in self.found:
            self.found[key] = Labelled(file.path, where, split=split, size=size, fractions=fractions)
        return self.found[key]

    def add(
        self,
        one: Labelled,
        name: str,
        label: str,
        box: Sequence[float] | None = None,
        shape: Shape | None = None,
        *,
        ignore: bool = False,
        fault: str = "",
    ) -> None:
        """Add an object. box: x1, y1, x2, y2; by default that of its polygons."""
        if box is None:
            box = box_of(shape) if isinstance(shape, Polygons) else (0.0, 0.0, 0.0, 0.0)
            if not isinstance(shape, Polygons):
                fault = fault or message("data.problem.no_box_or_outline", "no box and no outline")
        label = one_form(label)
        if not label:
            fault = fault or message("data.problem.no_label", "no label")
        elif self.fixed and label not in self.labels:
            fault = fault or message("data.problem.unknown_class", "unknown class: {label!r}", label=label)
        elif not self.fixed:
            self.labels.setdefault(label, len(self.labels))
        number = self.labels.get(label, -1)
        self.has_shapes |= shape is not None
        one.things.append(Thing(f"{name} {label!r}", number, box, ignore, shape, fault))

    def leave_out(self, kind: str, one: Labelled) -> None:
        """Count a shape that is not read; its image is left out too unless it has other objects."""
        self.left_out[kind] += 1
        self.partly_read.add((one.image, one.split))

    def is_outline(self, line: np.ndarray) -> bool:
        """Return whether a line (K, 2) ends where it begins, so that it is read as a polygon, and count it."""
        closed = len(line) > 3 and bool(np.hypot(*(line[0] - line[-1])) <= MAX_GAP * np.hypot(*np.ptp(line, axis=0)))
        self.closed_lines += closed
        return closed

    def _without_unread(self) -> None:
        """Drop images all of whose shapes are unread, since they do not show background only; add the notes."""
        if self.closed_lines:
            text = "{count} closed {count:line is|lines are} read as {count:a polygon|polygons}"
            self.notes.append(message("data.note.closed_lines", text, count=self.closed_lines))
        if not self.left_out:
            return
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(self.left_out.items()))
        text = "shapes without an area or class are not read: {listed}"
        self.notes.append(message("data.note.shapes_without_area_class", text, listed=listed))
        dropped = [key for key in self.partly_read if key in self.found and not self.found[key].things]
        if dropped and len(dropped) == len(self.found):
            text = (
                "{path}: the annotations hold only shapes without an area ({listed}), which are not read: draw boxes "
                "or polygons around the objects"
            )
            raise Refusal(message("data.refuse.no_areas", text, path=self.survey.path, listed=listed))
        for key in dropped:
            del self.found[key]
        if dropped:
            text = "{count} {count:image|images} with no other shapes {count:is|are} left out"
            self.notes.append(message("data.note.only_unread_shapes", text, count=len(dropped)))

    def finish(self, task: ObjectTask) -> Dataset:
        """Create the checked Dataset. Raises Refusal if nothing was found or too many entries are bad."""
        self.notes += self.shared.settle(self.survey.path)
        images = len(self.missing) + len(self.found)
        stop_if_many_bad(self.survey.path, len(self.missing), images, self.problems, self.config, "images")
        stop_if_many_bad(self.survey.path, self.bad, self.entries, self.problems, self.config)
        self._without_unread()
        classes = list(self.labels)
        if not self.fixed:
            order = sorted(range(len(classes)), key=lambda k: classes[k])
            place = {k: i for i, k in enumerate(order)}
            classes = [classes[k] for k in order]
            for one in self.found.values():
                one.things = [thing._replace(label=place.get(thing.label, -1)) for thing in one.things]
        if all(one.split == UNASSIGNED for one in self.found.values()):
            for path, split in splits_of_folders([one.image for one in self.found.values()], self.survey.root).items():
                self.found[path, UNASSIGNED].split = split
        notes = self.notes + self.index.notes()
        return assemble(
            self.survey.path,
            self.form,
            list(self.found.values()),
            classes,
            self.config,
            task,
            self.problems,
            notes,
            self.box_form,
        )


def stop_if_many_bad(
    path: Path, bad: int, entries: int, problems: Sequence[Problem], config: DataConfig, what: str = "entries"
) -> None:
    """Raise Refusal if more than 5 % of the entries cannot be used, unless --on-bad skip keeps some."""
    if not too_many_bad(bad, entries) or (config.on_bad == "skip" and bad < entries):
        return
    skipped = [problem for problem in problems if problem.done == "skipped"]
    reasons = {getattr(problem.reason, "id", "") for problem in skipped}
    if 0 < bad == entries and skipped:
        values = {"path": path, "count": entries, "first": f"{skipped[0].where}: {skipped[0].reason}"}
        if reasons == {MISSING}:
            text = (
                "{path}: none of the {count} images that the annotations name is there ({first}): give a folder "
                "that holds them too"
            )
            raise Refusal(message("data.refuse.no_image_there", text, **values))
        if reasons == {SEVERAL}:
            text = (
                "{path}: each of the {count} images that the annotations name lies in several folders ({first}): give "
                "the folder of those that are meant, or move the others elsewhere"
            )
            raise Refusal(message("data.refuse.each_image_ambiguous", text, **values))
    first = "; ".join(f"{p.where}: {p.reason}" for p in skipped[:3])
    raise Refusal(
        message(
            "data.refuse.cannot_used_fix_remove",
            "{path}: {bad} of {entries} {what} cannot be used ({first}); fix or remove them, or use --on-bad skip",
            path=path,
            bad=bad,
            entries=entries,
            what=what,
            first=first[:400],
        )
    )


def one_form(label: str) -> str:
    """A class name in Unicode's composed form, so that an accented letter and a letter with its accent are one."""
    return unicodedata.normalize("NFC", label)


def box_of(shape: Polygons) -> tuple[float, float, float, float]:
    """Compute the bounding box x1, y1, x2, y2 of all polygons."""
    points = np.concatenate([ring.reshape(-1, 2) for ring in shape.rings]) if shape.rings else np.zeros((0, 2))
    if not len(points):
        return 0.0, 0.0, 0.0, 0.0
    low, high = points.min(axis=0), points.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def around_rotated(box: Sequence[float], angle: float) -> tuple[float, float, float, float]:
    """Compute the box around one that is rotated about its centre. box: x1, y1, x2, y2. angle: degrees."""
    x1, y1, x2, y2 = box
    cos, sin = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    width, height, cx, cy = x2 - x1, y2 - y1, (x1 + x2) / 2, (y1 + y2) / 2
    half, tall = (width * cos + height * sin) / 2, (width * sin + height * cos) / 2
    return cx - half, cy - tall, cx + half, cy + tall


def corners(points: object) -> np.ndarray:
    """Convert a list of [x, y], {"x": x, "y": y}, or x, y, x, y, ... to float64 (K, 2). Raises ValueError."""
    if isinstance(points, list) and points and all(isinstance(one, dict) for one in points):
        points = [[one.get("x"), one.get("y")] for one in points]
    try:
        values = np.array(points, np.float64)
    except TypeError:
        raise ValueError("points that are not numbers") from None
    if values.ndim == 1 and values.size % 2 == 0:
        values = values.reshape(-1, 2)
    if values.ndim != 2 or values.shape[1] != 2 or not len(values):
        raise ValueError("points that are not pairs of numbers")
    return values

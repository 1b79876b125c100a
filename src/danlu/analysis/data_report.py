"""Result of `danlu.describe`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from danlu.run.result import Result


@dataclass(frozen=True, eq=False, repr=False)
class ObjectsReport(Result):
    """Objects of a detection or segmentation dataset."""

    count: int  # objects, ignored ones included
    ignored: int  # objects marked to be ignored (crowds, difficult ones)
    images_without: int  # images without any object
    per_image: list[int]  # [min, median, max]
    side: list[float]  # square root of the box area in pixels: [min, median, max]; empty without objects
    pictures_without: int | None = None  # old name of images_without
    per_picture: list[int] | None = None  # old name of per_image


@dataclass(frozen=True, eq=False, repr=False)
class DataReport(Result):
    """Contents of a dataset; fields of other kinds of data are None."""

    data: str  # file, folder or name of a known dataset
    format: str
    task: str  # classify, regress, detect, segment
    samples: int  # images or rows
    counts: Mapping[str, int]  # split -> samples
    split: str  # how the splits were made
    classes: Mapping[str, Mapping[str, int]]  # class -> split -> samples, or objects; empty for regression
    notes: list[str]
    problems: list[dict[str, str]]  # [{"where", "reason", "done"}]
    targets: Mapping[str, Mapping[str, float]] | None = None  # regression: target -> mean, std, least, most
    columns: list[dict[str, Any]] | None = None  # tables: name, type, missing, and mean, std or distinct, of training
    sizes: Mapping[str, list[int]] | None = None  # images: height and width in pixels, each [min, median, max]
    channels: int | None = None  # of images
    mean: list[float] | None = None  # images: by channel, of values in [0, 1]
    std: list[float] | None = None  # images: by channel, of values in [0, 1]
    objects: ObjectsReport | None = None
    seen: str | None = None  # the files that the format was recognised by
    understood: str | None = None  # one sentence: how the data is read, and what to type if that is wrong
    contact_sheet: str | None = None  # file with example images

    ALWAYS: ClassVar[tuple[str, ...]] = ("contact_sheet",)

    def __repr__(self) -> str:
        counts = ", ".join(f"{count:,} {name}" for name, count in self.counts.items() if count)
        return f"DataReport({self.data}: {self.format}, {self.task}, {len(self.classes)} classes, {counts})"

    __str__ = __repr__

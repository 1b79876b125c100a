"""What a source found on disk: inputs, targets, names, and what was wrong with it. The one currency of data/."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from danlu.task_spec import TASKS, TaskName, TaskSpec

if TYPE_CHECKING:
    import pandas

    from danlu.data.annotations import Annotation
    from danlu.message import Message

TRAIN, VAL, TEST, UNASSIGNED = 0, 1, 2, -1
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Problem:
    """One sample, or object in it, that is not as it should be. where: file, and row or object; reason: a few words.

    done: what was done about it. "kept" is used all the same, as the reason tells; `danlu data` looks on where
    "training stops at" it. fault: of a box, in a word or two.
    """

    where: str
    reason: str
    done: Literal["skipped", "clipped", "kept", "training stops at"] = "skipped"
    fault: str = ""


@dataclass(frozen=True)
class ImageFiles:
    """Images still on disk, of any size; `data/images.py` decodes them.

    window: the values that become 0 and 255 in images of more than 8 bits, or None for their full scale.
    """

    paths: tuple[Path, ...]
    sizes: tuple[tuple[int, int], ...]  # (height, width) after EXIF rotation
    grey: bool  # every image is grey
    window: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class Samples:
    """Map-style datasets one after the other, whose items are tensors of one shape.

    parts: each has a length and items by number. read: item -> its input. shape: of one input, without the batch.
    """

    parts: tuple[Any, ...]
    read: Any
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def item(self, number: int) -> Any:
        """Item of this number, counted over all parts."""
        for part in self.parts:
            if number < len(part):
                return part[number]
            number -= len(part)
        raise IndexError(number)


@dataclass(frozen=True, repr=False)
class Dataset:
    """Samples in the order of the disk, before any split is made. N samples, K classes, T target columns.

    inputs: images as uint8 (N, C, H, W), or `ImageFiles`, or float32 columns (N, D), or a DataFrame of N rows
        (csv: encoded only after the split, with training statistics); of data given in Python also tensors (N, ...)
        that are used as they are, or `Samples`.
    targets: int64 (N,) class indices into `classes`, or float32 (N, T), or an `Annotation` for each of N images.
    classes: sorted names, or those of objects in the order of their file; empty for regression.
    given: int8 (N,) of TRAIN, VAL, TEST, UNASSIGNED when the disk prescribes splits.
    name_of: sample index -> what to call it in messages ("cats/7.jpg", "housing.csv row 12").
    problems: files or rows that were skipped, each once.
    notes: what the reader should know of how the data was read.
    unlabelled: splits (VAL, TEST) whose images are there without labels, and therefore not among the samples.
    raw: tensors are passed to the network as they are, also rows (N, D), which are columns of a table otherwise.
    seen: the files that the format was recognised by, None for a known set that is no path.
    """

    path: str
    format: str
    task: TaskName
    inputs: Tensor | ImageFiles | pandas.DataFrame | Samples
    targets: Tensor | Sequence[Annotation]
    classes: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    given: Tensor | None = None
    name_of: Callable[[int], str] = lambda i: f"sample {i}"
    problems: Sequence[Problem] = ()
    notes: Sequence[str] = ()
    seen: Message | None = None
    unlabelled: tuple[int, ...] = ()
    raw: bool = False

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        known = f"{len(self.classes)} classes" if self.classes else f"target {', '.join(self.target_names)}"
        return f"Dataset({self.path}: {self.format}, {self.task}, {len(self):,} samples, {known}, {self.kind})"

    def _repr_html_(self) -> str:
        facts = {"format": self.format, "task": self.task, "samples": f"{len(self):,}", "inputs": self.kind}
        facts |= {"classes": ", ".join(self.classes[:20])} if self.classes else {"target": ", ".join(self.target_names)}
        rows = "".join(f"<tr><th>{name}</th><td>{escape(value)}</td></tr>" for name, value in facts.items())
        return f"<p>{escape(self.path)}</p><table><tbody>{rows}</tbody></table>"

    @property
    def task_spec(self) -> TaskSpec:
        """Facts about the task of these data."""
        return TASKS[self.task]

    @property
    def kind(self) -> Literal["images", "files", "columns", "table", "tensors"]:
        """images: uint8 tensor; files: ImageFiles; columns: float tensor (N, D); table: DataFrame; tensors: others,
        in memory or read by `Samples`."""
        if isinstance(self.inputs, ImageFiles):
            return "files"
        if isinstance(self.inputs, Tensor):
            if self.inputs.dtype == torch.uint8:
                return "images"
            return "tensors" if self.raw or self.inputs.ndim != 2 else "columns"
        return "table" if hasattr(self.inputs, "columns") else "tensors"

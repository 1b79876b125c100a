"""Dataset as read from disk: inputs, targets, classes, given splits and problems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from danlu.message import as_html
from danlu.several_inputs import InputPart
from danlu.task_spec import TASKS, TaskName, TaskSpec

if TYPE_CHECKING:
    import pandas

    from danlu.data.annotations import Annotation
    from danlu.data.label_maps import LabelMap
    from danlu.data.pose_audit import PoseAudit
    from danlu.message import Message
    from danlu.pose.object_model import ObjectModel

TRAIN, VAL, TEST, UNASSIGNED = 0, 1, 2, -1
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Problem:
    """Defect of one sample or object.

    where: file, and row or object. reason: a few words. done: "skipped"; "clipped" (a box, to its image); "kept" (used
    anyway); "training stops at" (`danlu data` only reports it). fault: kind of defect of a box, in one or two words.
    """

    where: str
    reason: str
    done: Literal["skipped", "clipped", "kept", "training stops at"] = "skipped"
    fault: str = ""


@dataclass(frozen=True)
class ImageFiles:
    """Image files of any size, which `data/images.py` decodes.

    window: values of images with more than 8 bits that are mapped to 0 and 255; None: their full scale. channels: of
    images with more channels than PIL reads (multispectral TIFF), the same for all; None: grey or colour.
    """

    paths: tuple[Path, ...]
    sizes: tuple[tuple[int, int], ...]  # (height, width) after EXIF rotation
    grey: bool  # whether all images are grey
    window: tuple[float, float] | None = None
    channels: int | None = None

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class Samples:
    """Map-style datasets one after the other, whose items are tensors of one shape.

    parts: each has a length and items by number. read: item -> its input. shape: of one input, without the batch.
    inputs: those of a sample that has several, which `read` joins to one row.
    """

    parts: tuple[Any, ...]
    read: Any
    shape: tuple[int, ...]
    inputs: tuple[InputPart, ...] = ()

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
    """Samples as read, before splitting. N samples, K classes, T target columns.

    inputs: images uint8 (N, C, H, W), or `ImageFiles`, or columns float32 (N, D), or a DataFrame of N rows
        (csv: encoded after the split, with statistics of the training rows); of data given in Python also tensors
        (N, ...), used without encoding, or `Samples`.
    targets: class indices int64 (N,), or numbers float32 (N, T), or an `Annotation` or `LabelMap` for each of N images.
    classes: sorted names, or for objects in the order of their file; empty for regression.
    given: split of each sample if the data define it, int8 (N,) of TRAIN, VAL, TEST, UNASSIGNED.
    name_of: function from a sample index to its name in messages ("cats/7.jpg", "housing.csv row 12").
    problems: defects of files, rows or objects, each once.
    notes: remarks for the user on how the data were read.
    unlabelled: splits (VAL, TEST) with images but without labels, whose images are not among the samples.
    raw: whether tensors are passed to the network unchanged, also rows (N, D), otherwise columns of a table.
    models: 3D model of each class, of data with poses. audit: results of the checks of poses read from files.
    frames: of each clip, whose images have the channels of all its frames, one frame after the other (`data/clips.py`);
        None for images.
    seen: files by which the format was recognised; None for a known dataset that is not read from a path.
    """

    path: str
    format: str
    task: TaskName
    inputs: Tensor | ImageFiles | pandas.DataFrame | Samples
    targets: Tensor | Sequence[Annotation] | Sequence[LabelMap]
    classes: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    given: Tensor | None = None
    name_of: Callable[[int], str] = lambda i: f"sample {i}"
    problems: Sequence[Problem] = ()
    notes: Sequence[str] = ()
    seen: Message | None = None
    unlabelled: tuple[int, ...] = ()
    raw: bool = False
    models: Sequence[ObjectModel] = ()
    audit: PoseAudit | None = None
    frames: int | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        known = f"{len(self.classes)} classes" if self.classes else f"target {', '.join(self.target_names)}"
        return f"Dataset({self.path}: {self.format}, {self.task}, {len(self):,} samples, {known}, {self.kind})"

    def _repr_html_(self) -> str:
        facts = {"format": self.format, "task": self.task, "samples": f"{len(self):,}", "inputs": self.kind}
        facts |= {"classes": ", ".join(self.classes[:20])} if self.classes else {"target": ", ".join(self.target_names)}
        rows = "".join(f"<tr><th>{name}</th><td>{as_html(value)}</td></tr>" for name, value in facts.items())
        return f"<p>{as_html(self.path)}</p><table><tbody>{rows}</tbody></table>"

    @property
    def task_spec(self) -> TaskSpec:
        """Facts about the task of the dataset."""
        return TASKS[self.task]

    @property
    def stored_channels(self) -> int:
        """Channels of the images, or of a frame, as they are stored; 3 for files where some have colour."""
        if isinstance(self.inputs, ImageFiles):
            return self.inputs.channels or (1 if self.inputs.grey else 3)
        assert isinstance(self.inputs, Tensor)
        return self.inputs.shape[1] // (self.frames or 1)

    @property
    def kind(self) -> Literal["images", "files", "columns", "table", "tensors"]:
        """Kind of inputs: "images" (uint8 tensor), "files" (ImageFiles), "columns" (float tensor (N, D)), "table"
        (DataFrame), "tensors" (others, in memory or read by `Samples`)."""
        if isinstance(self.inputs, ImageFiles):
            return "files"
        if isinstance(self.inputs, Tensor):
            if self.inputs.dtype == torch.uint8:
                return "images"
            return "tensors" if self.raw or self.inputs.ndim != 2 else "columns"
        return "table" if hasattr(self.inputs, "columns") else "tensors"

"""Inputs and outputs of a trained network, stored inside its weights file so that the file is usable on its own."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import ConfigDict, PositiveFloat, TypeAdapter, ValidationError

from danlu.config.settings import FORMER
from danlu.config.values import Channels
from danlu.patch_grid import PatchGrid
from danlu.several_inputs import InputPart
from danlu.task_spec import TASKS, TaskName, TaskSpec

# Former names of options of networks, as in settings, in weights files of earlier versions.
FORMER_OPTIONS = {old.rpartition(".")[2]: new.rpartition(".")[2] for old, new in FORMER.items()}


@dataclass(frozen=True)
class Signature:
    """Everything needed to rebuild a network, prepare its inputs and name its outputs.

    Args:
        task: Name of the task.
        model: Name of the network or detector.
        options: Its options, as for `build_model` or `build_detector`.
        classes: Class names in the order of the outputs.
        target_names: Predicted columns (regression).
        channels: Channels of the images, or of each frame of a clip.
        frames: Frames of a clip, which the network takes as (T, C, size, size); None for images.
        size: Side of the network's input in pixels; images are scaled to [0, 1].
        canvas: Side in pixels to which images are resized before their centre of `size` pixels is cropped.
        mean, std: Normalisation per channel.
        inputs: Numbers per table row.
        columns: A `ColumnEncoder` as a dictionary (table rows).
        target_scale: A `TargetScaler` as a dictionary (regression).
        members: Signatures of the networks of an ensemble; empty for a single network.
        backbone: Name of a detector's backbone.
        fit: How a detector makes images square.
        thresholds: Smallest probability of each class at which it is predicted (several labels per sample).
        temperature: Divides the outputs of a classifier before softmax; fitted on the validation set.
        window: Pixel values that become 0 and 255 in images of more than 8 bits per channel.
        shape: Shape of one input that the network takes as it is given (tensors of the user).
        parts: Inputs of a sample that has several, joined to one row of `shape`.
        transform: Name of the user's transform of the inputs.
        tokens: Max number of patches of an image, which keeps its aspect on the canvas; `size` is then the side
            of the grid that the table of positions is made for.
        keep_size: Whether images of fewer patches keep their size.
        pretrain: Method of pretraining and its options; of a classifier, those its weights come from.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    task: TaskName
    model: str
    options: dict[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    channels: int | None = None
    size: int | None = None
    canvas: int | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    inputs: int | None = None
    columns: dict[str, Any] | None = None
    target_scale: dict[str, Any] | None = None
    members: tuple[Signature, ...] = ()
    backbone: str | None = None
    fit: Literal["crop", "letterbox", "stretch"] = "crop"
    window: tuple[float, float] | None = None
    shape: tuple[int, ...] | None = None
    parts: tuple[InputPart, ...] = ()
    transform: str | None = None
    thresholds: tuple[float, ...] = ()
    temperature: PositiveFloat = 1.0
    pretrain: dict[str, Any] | None = None
    frames: int | None = None
    tokens: int | None = None
    keep_size: bool = False

    @property
    def task_spec(self) -> TaskSpec:
        """Facts about the task of this network."""
        return TASKS[self.task]

    @property
    def colour(self) -> Channels:
        """Channels in which images are read for this network, as of the setting `data.colour`."""
        return "grey" if self.channels == 1 else "rgb" if self.channels in (3, None) else "all"

    @property
    def placing(self) -> Literal["crop", "letterbox", "stretch"] | PatchGrid:
        """Rule by which images are brought onto the canvas, as `read_image` takes it."""
        if self.tokens is None:
            return self.fit
        return PatchGrid(self.options["patch"], self.tokens, self.keep_size)

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return len(self.classes) or len(self.target_names)

    @property
    def input_shape(self) -> list[int]:
        """Shape of one input: [inputs], [channels, size, size], [frames, channels, size, size], or of tensors."""
        if self.shape is not None:
            return list(self.shape)
        if self.inputs is not None:
            return [self.inputs]
        image = [self.channels or 1, self.size or 1, self.size or 1]
        return image if self.frames is None else [self.frames, *image]

    @property
    def normalisation(self) -> dict[str, Any]:
        """Arguments of `data.augment.Normalise`; a clip is an image of the channels of all its frames."""
        if self.tokens is not None:  # the last channel marks the image: it becomes 0 and 1
            return {"size": self.canvas or 1, "mean": (*self.mean, 0.0), "std": (*self.std, 1.0)}
        repeats = self.frames or 1
        return {"size": self.size or 1, "mean": self.mean * repeats, "std": self.std * repeats}

    def to_json(self) -> str:
        """Return the signature as JSON text."""
        # Halves of surrogate pairs, which no header of a weights file can hold, become escapes of JSON.
        return json.dumps(asdict(self), ensure_ascii=False).encode("utf-8", "backslashreplace").decode("utf-8")

    @classmethod
    def from_json(cls, text: str) -> Signature:
        """Read a signature from JSON text. Raises ValueError, with the field, if the text is no signature."""
        try:
            made = TypeAdapter(cls).validate_python(json.loads(text))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise ValueError(f"{place or 'it'}: {first['msg'].lower()}") from None
        for one in (made, *made.members):
            for former in one.options.keys() & FORMER_OPTIONS:
                one.options[FORMER_OPTIONS[former]] = one.options.pop(former)
            if not len(one.mean) == len(one.std) == (one.channels or 0):
                raise ValueError(f"mean and std: must be of {one.channels or 0} channels")
        return made

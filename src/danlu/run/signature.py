"""What a trained network takes and gives, kept inside its weights file, so that the weights alone can be used."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from danlu.task_spec import TASKS, TaskName, TaskSpec


@dataclass(frozen=True)
class Signature:
    """task: classify, regress, detect or segment. model, options: what is needed to build the network again.

    classes: their names, in the order of the outputs. target_names: columns predicted (regression).
    Images: `channels` x `size` x `size`, in [0, 1], normalised by mean and std per channel; they are read as squares
    of `canvas` pixels, of which the network sees the centre. backbone: what a detector stands on. fit: how images
    that are no squares become some (detectors).
    Table rows: columns is a `ColumnEncoder`, target_scale a `TargetScaler`, as dictionaries.
    members: of an ensemble, what each of its networks takes and gives; none for a single network.
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

    @property
    def task_spec(self) -> TaskSpec:
        """Facts about the task of this network."""
        return TASKS[self.task]

    @property
    def outputs(self) -> int:
        return len(self.classes) or len(self.target_names)

    @property
    def input_shape(self) -> list[int]:
        return [self.inputs] if self.inputs is not None else [self.channels or 1, self.size or 1, self.size or 1]

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Signature:
        """ValueError when the text is no signature."""
        try:
            made = TypeAdapter(cls).validate_python(json.loads(text))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise ValueError(f"{place or 'it'}: {first['msg'].lower()}") from None
        for one in (made, *made.members):
            if not len(one.mean) == len(one.std) == (one.channels or 0):
                raise ValueError(f"mean and std: must be of {one.channels or 0} channels")
        return made

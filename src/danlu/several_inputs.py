"""Samples of several inputs, (image, age) or {"image": ..., "age": ...}, kept as one row until a network takes them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from danlu.message import message
from danlu.refuse import Refusal, refusal

MAX_INTEGER = 1 << 24  # up to which float32 holds all integers


@dataclass(frozen=True)
class InputPart:
    """One of several inputs. name: its key, "" without keys. dtype: as torch calls it ("int64"). shape: of a sample."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def numbers(self) -> int:
        """Number of values per sample."""
        return math.prod(self.shape)


def is_several(value: Any) -> bool:
    """Return whether an input is a mapping, or a tuple or list that holds arrays or images, not numbers alone."""
    if isinstance(value, Mapping):
        return True
    return isinstance(value, list | tuple) and any(np.ndim(one) or hasattr(one, "getbands") for one in value)


def parts_of(value: Any, where: str) -> tuple[InputPart, ...]:
    """The inputs of one sample. Raises Refusal for one that is no tensor, array or number."""
    tensors = _tensors(value, where)
    return tuple(InputPart(name, tuple(one.shape), str(one.dtype).removeprefix("torch.")) for name, one in tensors)


def joined(value: Any, parts: Sequence[InputPart], where: str) -> Tensor:
    """All inputs of one sample as one row, float32 (D,). Raises Refusal where they are not those of `parts`."""
    tensors = _tensors(value, where)
    found = [(name, tuple(one.shape)) for name, one in tensors]
    if found != [(part.name, part.shape) for part in parts]:
        wanted = message("several_inputs.wanted.same_parts", "inputs of shapes {shapes}", shapes=_shapes(parts))
        raise refusal(f"inputs of {where}", wanted, _shapes(parts_of(value, where)))
    for name, one in tensors:
        if not one.is_floating_point() and one.numel() and int(one.long().abs().max()) > MAX_INTEGER:
            wanted = message("several_inputs.wanted.small_integers", "integers of at most {limit:,}", limit=MAX_INTEGER)
            raise refusal(f"input {name or 'values'} of {where}", wanted, int(one.long().abs().max()))
    return torch.cat([one.reshape(-1).float() for _, one in tensors])


def _shapes(parts: Sequence[InputPart]) -> str:
    return ", ".join(f"{part.name} {part.shape}".strip() for part in parts)


def _tensors(value: Any, where: str) -> list[tuple[str, Tensor]]:
    named = list(value.items()) if isinstance(value, Mapping) else [("", one) for one in value]
    made = []
    for name, one in named:
        array: Any = one if isinstance(one, Tensor) or hasattr(one, "getbands") else np.asarray(one)
        if not isinstance(array, Tensor | np.ndarray) or (
            isinstance(array, np.ndarray) and array.dtype.kind not in "iufb"
        ):
            wanted = message("several_inputs.wanted.tensors", "tensors, arrays or numbers")
            do = message("own.do.convert_them_dataset", "convert them in the dataset")
            raise refusal(f"inputs of {where}", wanted, type(one).__name__, do=do)
        tensor = array.detach().cpu() if isinstance(array, Tensor) else torch.from_numpy(np.array(array))
        made.append((str(name), tensor.float() if tensor.is_floating_point() else tensor))
    return made


def take_several(model: nn.Module, parts: Sequence[InputPart]) -> nn.Module:
    """Let a network take rows (N, D) of `joined` samples; calls with its own inputs stay possible. Return it."""
    model.register_forward_pre_hook(Unjoin(tuple(parts), _way(model, parts)), with_kwargs=True)
    return model


def _way(model: nn.Module, parts: Sequence[InputPart]) -> str:
    """The way in which `forward` takes the inputs: "apart", by "name", or "together" as one tuple or mapping."""
    parameters = inspect.signature(model.forward).parameters.values()
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    if parts[0].name:
        any_name = any(p.kind is p.VAR_KEYWORD for p in parameters)
        return "name" if any_name or all(part.name in names for part in parts) else "together"
    any_number = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    required = [p for p in places if p.default is p.empty]
    if any_number or len(required) == len(parts) or (len(required) < len(parts) <= len(places) and len(places) > 1):
        return "apart"
    if len(required) > 1:
        text = "model must take the {count} inputs of a sample, its forward takes {takes}"
        raise Refusal(
            message("several_inputs.refuse.other_number", text, count=len(parts), takes=len(required)), "model"
        )
    return "together"


@dataclass(frozen=True)
class Unjoin:
    """Forward pre-hook of a network: rows (N, D) become its inputs in their own shapes and types."""

    parts: tuple[InputPart, ...]
    way: str

    def __call__(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the arguments of `forward`; None leaves those of other calls as they are."""
        width = sum(part.numbers for part in self.parts)
        if kwargs or len(args) != 1 or not isinstance(args[0], Tensor) or args[0].shape[1:] != (width,):
            return None
        columns = args[0].split([part.numbers for part in self.parts], dim=1)
        inputs = {
            part.name or str(i): rows.reshape(-1, *part.shape).to(getattr(torch, part.dtype))
            for i, (part, rows) in enumerate(zip(self.parts, columns))
        }
        if self.way == "name":
            return (), inputs
        named = bool(self.parts[0].name)
        return (tuple(inputs.values()) if self.way == "apart" else (inputs if named else tuple(inputs.values()),)), {}

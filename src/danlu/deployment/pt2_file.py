"""torch.export: a graph as a .pt2 file, for the version of torch that wrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from danlu.deployment.onnx_file import Answer
from danlu.message import message
from danlu.refuse import Failure

FACTS_FILE = "danlu.json"  # inside the .pt2 file


def write_pt2(graph: nn.Module, example: Tensor, path: Path, facts: Mapping[str, Any], *, any_batch: bool) -> None:
    """Write a graph to one file; `example` as of `write_onnx`. Failure if the network cannot be traced."""
    shapes = ({0: torch.export.Dim.DYNAMIC},) if any_batch else None
    try:
        with torch.no_grad():
            program = torch.export.export(graph, (example,), dynamic_shapes=shapes)
    except Exception as error:
        raise Failure(
            message(
                "deployment.refuse.network_cannot_written_pt2",
                "the network cannot be written as pt2: {listed}",
                listed=" ".join(str(error).split())[:200],
            )
        ) from error
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={FACTS_FILE: json.dumps(facts, ensure_ascii=False)})


def read_pt2(path: Path) -> Answer:
    """Load the file again."""
    with path.open("rb") as file:
        module = torch.export.load(file).module()

    @torch.no_grad()
    def answer(images: Any) -> list[Any]:
        found = module(torch.from_numpy(images))
        return [one.numpy() for one in (found if isinstance(found, tuple) else (found,))]

    return answer

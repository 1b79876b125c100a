"""The table of the formats of `danlu export`: how a file is written and read, and every fact about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from danlu.deployment.facts import as_text
from danlu.deployment.graph import Graph
from danlu.deployment.int8 import quantise
from danlu.deployment.onnx_file import PACKAGES, Answer, read_onnx, write_onnx
from danlu.deployment.openvino_file import read_openvino, write_openvino
from danlu.deployment.pt2_file import read_pt2, write_pt2
from danlu.deployment.weights_int8 import PACKAGES as TORCHAO
from danlu.deployment.weights_int8 import with_int8_weights
from danlu.message import Message

# (graph, example images uint8 (N, S, S, C), file, facts on the run, whether it takes batches of any size)
Write = Callable[[Graph, Tensor, Path, Mapping[str, Any], bool], None]


@dataclass(frozen=True)
class Int8:
    """Quantisation of a format: of its file, with training images for the ranges, or of the graph that is written.

    packages, extra: as of `FileFormat`, beyond those of the format.
    """

    # (file in floats, file to write, images of the training set uint8 (n, S, S, C), images per call or None for any)
    file: Callable[[Path, Path, np.ndarray, int | None], None] | None = None
    graph: Callable[[Graph], tuple[Graph, Message | None]] | None = None  # with a note for the result
    packages: tuple[str, ...] = ()
    extra: str = ""


@dataclass(frozen=True)
class FileFormat:
    """One format of exported files.

    suffix: of the file. write: writes a graph. read: opens the file again, for the verification. packages: that it
    needs. extra: of pyproject.toml, that installs them. exact: its outputs equal the network's to the bit. int8: how it
    is quantised. script: predict.py is written beside it. second_suffix: of a second file that `write` leaves.
    """

    suffix: str
    write: Write
    read: Callable[[Path], Answer]
    packages: tuple[str, ...] = ()
    extra: str = ""
    exact: bool = False
    int8: Int8 | None = None
    script: bool = False
    second_suffix: str | None = None


def _write_onnx(graph: Graph, example: Tensor, path: Path, facts: Mapping[str, Any], any_batch: bool) -> None:
    write_onnx(graph, example, path, as_text(facts), graph.output_names, any_batch=any_batch)


def _write_pt2(graph: Graph, example: Tensor, path: Path, facts: Mapping[str, Any], any_batch: bool) -> None:
    write_pt2(graph, example, path, facts, any_batch=any_batch)


def _write_openvino(graph: Graph, example: Tensor, path: Path, facts: Mapping[str, Any], any_batch: bool) -> None:
    """Write the graph as ONNX first, which OpenVINO converts."""
    onnx = path.with_suffix(".onnx")
    try:
        _write_onnx(graph, example, onnx, facts, any_batch)
        write_openvino(onnx, path, as_text(facts))
    finally:
        onnx.unlink(missing_ok=True)


FILE_FORMATS = {
    "onnx": FileFormat(
        ".onnx", _write_onnx, read_onnx, PACKAGES, extra="export", int8=Int8(file=quantise), script=True
    ),
    "pt2": FileFormat(
        ".pt2", _write_pt2, read_pt2, exact=True, int8=Int8(graph=with_int8_weights, packages=TORCHAO, extra="torchao")
    ),
    "openvino": FileFormat(
        ".xml", _write_openvino, read_openvino, ("openvino", *PACKAGES), extra="openvino", second_suffix=".bin"
    ),
}

"""OpenVINO: an ONNX file converted to its two files, NAME.xml (graph) and NAME.bin (weights), in float32."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from danlu.deployment.onnx_file import Answer
from danlu.message import message
from danlu.refuse import Failure


def write_openvino(onnx: Path, path: Path, facts: Mapping[str, str]) -> None:
    """Convert an ONNX file. path: of the graph, NAME.xml. Failure if OpenVINO does not take an operation of it."""
    openvino = _openvino()
    try:
        model = openvino.convert_model(str(onnx))
    except Exception as error:  # of its frontend, several kinds
        why = " ".join(str(error).split())[:200]
        text = "the network cannot be converted to OpenVINO: {why}"
        raise Failure(message("deployment.refuse.no_openvino", text, why=why)) from error
    for key, value in facts.items():
        model.set_rt_info(value, ["danlu", key])
    openvino.save_model(model, str(path), compress_to_fp16=False)


def read_openvino(path: Path) -> Answer:
    """Open the files with OpenVINO's runtime, on the CPU in float32 with as many threads as torch."""
    openvino = _openvino()
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    return lambda images: [np.array(one) for one in compiled({"images": images}).values()]


def _openvino() -> Any:
    """Import OpenVINO without openvino_telemetry, which reports each import and conversion to its maker."""
    name = "openvino_telemetry"
    hidden = name not in sys.modules
    if hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        import openvino  # pyright: ignore[reportMissingImports]
    finally:
        if hidden:
            del sys.modules[name]
    return openvino

"""int8: the convolutions and dense layers of an ONNX file in 8 bits, with ranges measured on training images."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from danlu.progress.silence import silent_log

CALIBRATION_BATCH = 16  # images at once
LAYERS = ["Conv", "Gemm", "MatMul"]  # decoding of boxes and softmax stay in float32


def quantise(source: Path, target: Path, images: np.ndarray, batch: int | None) -> None:
    """Write `source` with int8 weights per channel and uint8 activations, keeping its metadata.

    images: of the training set, uint8 (n, S, S, C). batch: images per call of the file; None: any.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.parts = _parts(images, batch or CALIBRATION_BATCH)

        def get_next(self) -> Any:
            part = next(self.parts, None)
            return None if part is None else {"images": part}

    with tempfile.TemporaryDirectory() as folder, silent_log():
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=LAYERS,
            nodes_to_exclude=last_convolutions(onnx.load(str(prepared))),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,  # weights of 7 bits: sums of two products saturate on processors without VNNI
            calibrate_method=CalibrationMethod.MinMax,
        )
    model = onnx.load(str(target))
    known = {one.key for one in model.metadata_props}
    for one in onnx.load(str(source), load_external_data=False).metadata_props:
        if one.key not in known:
            model.metadata_props.append(one)
    onnx.save(model, str(target))


def last_convolutions(model: Any) -> list[str]:
    """Names of the convolutions that no other layer follows: for boxes, which are decoded from them, 8 bits are few.

    model: an ONNX model.
    """
    users: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    followed: set[int] = set()  # nodes that a layer follows, from the end of the graph to its beginning
    last = []
    for node in reversed(model.graph.node):
        after = [user for name in node.output for user in users.get(name, [])]
        if any(user.op_type in LAYERS or id(user) in followed for user in after):
            followed.add(id(node))
        elif node.op_type == "Conv":
            last.append(node.name)
    return last


def _parts(images: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Full batches; a last one is filled up with the first images."""
    for start in range(0, len(images), size):
        part = images[start : start + size]
        yield part if len(part) == size else np.resize(np.concatenate([part, images]), (size, *images.shape[1:]))

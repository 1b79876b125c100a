"""ONNX: a graph as one file, read back by onnxruntime."""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from danlu.message import message
from danlu.progress.silence import silent_log, silent_thread
from danlu.refuse import Failure, Refusal

MAX_BYTES = 2_000_000_000  # a protocol buffer is smaller than 2 GB
EXAMPLE_BATCH = 2  # images of the example that the graph is traced with
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
Answer = Callable[[np.ndarray], list[np.ndarray]]  # images uint8 (N, S, S, C) -> outputs of the file


def write_onnx(
    graph: nn.Module,
    example: Tensor,
    path: Path,
    facts: Mapping[str, str],
    names: tuple[str, ...],
    *,
    any_batch: bool,
) -> None:
    """Write a graph to one file, weights inside.

    example: uint8 (N, S, S, C); the file takes batches of any size, or of N images only.
    names: of the outputs. Raises Refusal for more than 2 GB, Failure if the network cannot be traced.
    """
    if sum(p.numel() * p.element_size() for p in graph.parameters()) > MAX_BYTES:
        raise Refusal(
            message(
                "deployment.refuse.format_pt2_networks_more",
                "--format must be pt2 for networks of more than 2 GB, which one ONNX file cannot hold",
            ),
            "--format",
        )
    shapes = ({0: torch.export.Dim.DYNAMIC},) if any_batch else None
    try:
        with _silent(), torch.no_grad():
            program: Any = torch.onnx.export(
                graph,
                (example,),
                input_names=["images"],
                output_names=list(names),
                dynamic_shapes=shapes,
                dynamo=True,
                verbose=False,
            )
            program.model.metadata_props.update(facts)
            program.save(str(path), external_data=False)
    except OSError:
        raise
    except Exception as error:
        raise Failure(
            message(
                "deployment.refuse.network_cannot_written_onnx",
                "the network cannot be written as ONNX: {listed}",
                listed=" ".join(str(error).split())[:200],
            )
        ) from error


def read_onnx(path: Path) -> Answer:
    """Open a file with onnxruntime, on the CPU with as many threads as torch."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda images: [np.asarray(one) for one in session.run(None, {"images": images})]


def need(packages: Sequence[str], flag: str, extra: str) -> None:
    """Refuse in one sentence if a package of an extra of danlu is missing. flag: that needs it, with its value."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            wanted = message(
                "deployment.wanted.needs_package_pip_install",
                "{flag} needs the package {package}: `pip install {package}`, or danlu[{extra}]",
                flag=flag,
                package=package,
                extra=extra,
            )
            raise Refusal(wanted, flag.partition(" ")[0])


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without the notes of the exporter on standard output and in its log."""
    with warnings.catch_warnings(), silent_thread(), silent_log():
        warnings.simplefilter("ignore")
        yield

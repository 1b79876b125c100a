"""Compare an exported file with the network it was made of: outputs, metric and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch

from danlu.deployment.graph import Graph
from danlu.deployment.onnx_file import Answer
from danlu.deployment.verification_images import ExportSamples, noise_images
from danlu.inference.loaded_run import LoadedRun
from danlu.message import message
from danlu.refuse import Failure
from danlu.user_objects import using

COMPARED = 32  # images whose outputs are compared
MAX_DIFFERENCE = 1e-4  # between the outputs of the network and of a file in float32
MAX_METRIC_DIFFERENCE = 0.001  # of a file in float32, or one image where images are counted
MAX_INT8_METRIC_LOSS = 0.005  # of a file in int8, likewise
TIMED = 15  # timed runs of one image; their median is reported


@dataclass(frozen=True)
class Verified:
    """Measurements of a file that passed.

    compared: number of images whose outputs were compared. max_difference: between their outputs. metric: name;
    metric_before, metric_after: of the network and of the file, on `images` images; None without data. ms_before,
    ms_after: milliseconds for one image, batch of one.
    """

    compared: int
    max_difference: float
    metric: str
    metric_before: float | None
    metric_after: float | None
    images: int
    split: str | None
    ms_before: float
    ms_after: float


def verify(
    run: LoadedRun,
    graph: Graph,
    answer: Answer,
    samples: ExportSamples | None,
    *,
    batch: int | None = None,
    exact: bool = False,
    int8: bool = False,
) -> Verified:
    """Measure a file. Raises Failure, in one sentence, if it differs from the network.

    batch: size that the file takes; None: any. exact: require the same bits (pt2). int8: compare only the metric.
    """

    @torch.no_grad()
    def network(images: np.ndarray) -> list[np.ndarray]:
        found: Any = graph(torch.from_numpy(images))
        return [one.numpy() for one in (found if isinstance(found, tuple) else (found,))]

    count = COMPARED if samples is None else min(COMPARED, len(samples))
    images = noise_images(run, COMPARED) if samples is None else samples.images(0, count)
    largest = max(
        graph.difference(_all(network, part, batch), _all(answer, part, batch))
        for part in (images[start : start + graph.at_once] for start in range(0, len(images), graph.at_once))
    )
    if not int8:
        _check_outputs(largest, count, 0.0 if exact else MAX_DIFFERENCE)
    before = after = None
    if samples is not None:
        with using(run.objects):
            before, after = (
                graph.metric(samples, _over(samples, one, batch, graph.at_once)) for one in (network, answer)
            )
        _check_metric(graph, samples, before, after, MAX_INT8_METRIC_LOSS if int8 else MAX_METRIC_DIFFERENCE)
    one = images[: batch or 1]
    return Verified(
        compared=count,
        max_difference=largest,
        metric=graph.monitor,
        metric_before=before,
        metric_after=after,
        images=len(samples) if samples is not None else 0,
        split=samples.split if samples is not None else None,
        ms_before=_milliseconds(network, one),
        ms_after=_milliseconds(answer, one),
    )


def _check_outputs(largest: float, count: int, limit: float) -> None:
    """Raise Failure where the outputs for `count` images differ by more than `limit`, or are no numbers."""
    if not largest <= limit:
        text = (
            "the exported file differs from the network by {largest:.3g} on {count} images (limit {limit:g}); no file "
            "was written"
        )
        facts = {"largest": largest, "count": count, "limit": limit}
        raise Failure(message("deployment.refuse.exported_file_differs_network", text, **facts))


def _check_metric(graph: Graph, samples: ExportSamples, before: float, after: float, allowed: float) -> None:
    """Raise Failure where the metric differs by more than `allowed`, and than one image where it counts images."""
    allowed = max(allowed, 1 / len(samples) if graph.counts_images else 0.0)
    if not abs(before - after) <= allowed:
        text = (
            "the exported file has {monitor} {after:.4f} where the network has {before:.4f} on {samples} {split} "
            "images (limit {allowed:.3g}); no file was written"
        )
        facts = {"monitor": graph.monitor, "after": after, "before": before, "samples": len(samples)}
        facts |= {"split": samples.split, "allowed": allowed}
        raise Failure(message("deployment.refuse.exported_file_where_network", text, **facts))


def _over(samples: ExportSamples, answer: Answer, batch: int | None, at_once: int) -> Iterator[list[np.ndarray]]:
    """Outputs of all samples, of `at_once` samples each."""
    for start in range(0, len(samples), at_once):
        yield _all(answer, samples.images(start, min(start + at_once, len(samples))), batch)


def _all(answer: Answer, images: np.ndarray, batch: int | None) -> list[np.ndarray]:
    """Outputs of all images, in batches of the size that the file takes; the last is filled up."""
    size = batch or len(images)
    parts = []
    for start in range(0, len(images), size):
        chunk = images[start : start + size]
        full = chunk if len(chunk) == size else np.concatenate([chunk, np.repeat(chunk[-1:], size - len(chunk), 0)])
        parts.append([one[: len(chunk)] for one in answer(full)])
    return [np.concatenate(column) for column in zip(*parts)]


def _milliseconds(answer: Callable[[np.ndarray], Any], images: np.ndarray) -> float:
    """Median time per image."""
    seconds = []
    for _ in range(TIMED):
        began = time.perf_counter()
        answer(images)
        seconds.append(time.perf_counter() - began)
    return 1000 * median(seconds) / len(images)

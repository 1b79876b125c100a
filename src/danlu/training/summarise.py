"""Build the summary of a run: metrics, data, choices, and the tables and images of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from danlu.advice.fixes import fixes_of_run
from danlu.data.augmentation.augment import Normalise
from danlu.data.augmentation.grids import without_border
from danlu.data.clips import filmstrip
from danlu.data.dataset import SPLITS
from danlu.engine.doctor_watcher import findings_of
from danlu.engine.loop import Progress
from danlu.inference.measure import Measurement
from danlu.inference.reconstructions import reconstructions
from danlu.inference.sample_images import FILMSTRIP_WIDTH, IMAGE_SIDE, image_uri
from danlu.objects import ObjectBatch
from danlu.preparation.assemble import make_task, transforms
from danlu.preparation.networks import network
from danlu.preparation.object_sizes import object_sizes
from danlu.preparation.prepared import Prepared
from danlu.report.images import draw_boxes, to_data_uri, visible
from danlu.run.folder import Run
from danlu.run.summary import DataSummary, SplitMetrics, Summary
from danlu.user_objects import PREFIX

OBJECTS_SIDE = 192  # pixels, of augmented images with boxes
AUGMENTED_SHOWN = 24  # images


def summarise(
    run: Run, prepared: Prepared, progress: Progress, measured: Measurement | None, timings: Mapping[str, float]
) -> Summary:
    """Summary of a run.

    measured: evaluation of the best weights; None when the training was interrupted. timings: seconds by stage.
    """
    task = make_task(prepared)
    epochs = run.record.of("epoch")
    best = next((row for row in epochs if row["epoch"] == progress.best_epoch), epochs[-1] if epochs else {})
    metrics: dict[str, Mapping[str, float]] = {split: _metrics_of(best, split) for split in ("train", "val")}
    details: dict[str, Any] = {}
    if measured is not None:
        metrics[measured.split] = measured.metrics
        details = {"split": measured.split} | measured.task.details(
            measured.evaluation, prepared.dataset.name_of, lambda index: image_uri(prepared, index)
        )
    model = network(prepared.signature)
    if prepared.objects is not None:
        details["sizes"] = object_sizes(prepared, model)
    if measured is not None and prepared.signature.task_spec.targets == "none":
        details["reconstructions"] = reconstructions(run, prepared, measured.split)
    dataset, split, language = prepared.dataset, prepared.split, prepared.config.doctor.language
    summary = Summary(
        run=run.name,
        task=dataset.task,
        model=prepared.signature.model.removeprefix(PREFIX),
        epochs=progress.epoch,
        metrics=SplitMetrics.from_json(metrics),
        seconds=round(sum(timings.values()), 3),
        samples_per_second=_mean_speed(epochs),
        best_epoch=progress.best_epoch,
        monitor=task.spec.monitor,
        better=task.spec.better,
        parameters=sum(p.numel() for p in model.parameters()),
        data=DataSummary(
            path=dataset.path,
            format=dataset.format,
            counts={name: len(getattr(split, name)) for name in SPLITS},
            classes=list(dataset.classes),
            input=prepared.signature.input_shape,
            how=split.how,
            notes=list(dataset.notes),
            problems=[{"where": p.where, "reason": p.reason} for p in dataset.problems],
        ),
        choices=[{"key": c.key, "value": c.value, "reason": c.reason} for c in prepared.choices],
        transfer=prepared.transfer.to_dict() if prepared.transfer else None,
        timings=timings,
        test_looks=1 if measured is not None and measured.split == "test" else 0,
        evaluation=details,
        augmented=augmented_images(prepared),
        stopped=progress.stopped,
    )
    fix = fixes_of_run(run, prepared.config, len(split.train), language, summary)
    return replace(summary, findings=findings_of(run, language, fix))


def _mean_speed(epochs: Sequence[Mapping[str, Any]]) -> float:
    """Mean samples per second over a training, from that of each epoch: all epochs have the same number of samples."""
    speeds = [row["samples_per_second"] for row in epochs]
    return len(speeds) / sum(1 / speed for speed in speeds) if speeds and all(speeds) else 0.0


def _metrics_of(row: dict[str, Any], split: str) -> dict[str, float]:
    """Metrics of one split in a row of the record: {"val.loss": 0.1} -> {"loss": 0.1}."""
    return {name.partition(".")[2]: value for name, value in row.items() if name.startswith(split + ".")}


def _evenly(values: list[int], count: int) -> list[int]:
    """Up to `count` of the values, evenly spaced: samples are in the order of their classes."""
    return [values[i * len(values) // count] for i in range(count)] if len(values) > count else values


def augmented_images(prepared: Prepared) -> list[str]:
    """Training images after augmentation, without normalisation, as data URIs; empty for tables."""
    if prepared.images is None or prepared.signature.shape is not None:
        return []
    augment, _ = transforms(prepared)
    signature = prepared.signature
    normalise = Normalise(**signature.normalisation)
    index: list[int] = _evenly(prepared.split.train.tolist(), AUGMENTED_SHOWN)
    draws = augment.draw(np.random.default_rng([prepared.config.seed, 0]), len(index))
    images = prepared.images.some(index)
    targets: Any = prepared.targets.index_select(0, torch.tensor(index))
    shown, targets = augment(images, None, targets, draws)
    if signature.frames is not None:
        clips = normalise.undo(shown.flatten(1, 2))
        return [to_data_uri(filmstrip(clip, signature.frames), FILMSTRIP_WIDTH) for clip in clips]
    if signature.tokens is not None:
        return [to_data_uri(visible(without_border(one)), IMAGE_SIDE) for one in normalise.undo(shown)]
    images = visible(normalise.undo(shown.flatten(0, 1)[:AUGMENTED_SHOWN] if shown.ndim == 5 else shown))
    if isinstance(targets, ObjectBatch):
        boxed = [draw_boxes(image, targets.image(i).boxes) for i, image in enumerate(images)]
        return [to_data_uri(image, OBJECTS_SIDE) for image in boxed]
    return [to_data_uri(image, IMAGE_SIDE) for image in images]

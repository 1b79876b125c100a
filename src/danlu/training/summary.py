"""summary.json: everything the report page and the JSON on standard output say of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from danlu.advice.fixes import cures
from danlu.data.dataset import SPLITS
from danlu.engine.doctor_watcher import findings_of
from danlu.engine.loop import Progress
from danlu.objects import ObjectBatch
from danlu.preparation.assemble import make_task, transforms
from danlu.preparation.networks import network
from danlu.preparation.object_sizes import object_sizes
from danlu.preparation.prepared import Prepared
from danlu.report.images import draw_boxes, to_data_uri
from danlu.run.folder import Run

PUBLIC = ("run", "task", "model", "epochs", "metrics", "seconds", "samples_per_second", "findings")
IMAGE_SIDE = 96
OBJECTS_SIDE = 192  # of images with objects in them
EXAMPLE_SIDE = 384  # of images with what is there and what was found
AUGMENTED_SHOWN = 24


def public(summary: dict[str, Any]) -> dict[str, Any]:
    """What --json prints."""
    return {key: summary[key] for key in PUBLIC} | ({"folds": summary["folds"]} if summary.get("folds") else {})


def summarise(
    run: Run, prepared: Prepared, progress: Progress, final: dict[str, Any] | None, timings: dict[str, float]
) -> dict[str, Any]:
    """final: {"split", "metrics", "evaluation"} of the best weights, or None when the training was interrupted."""
    task = make_task(prepared)
    epochs = run.record.of("epoch")
    best = next((row for row in epochs if row["epoch"] == progress.best_epoch), epochs[-1] if epochs else {})
    metrics: dict[str, dict[str, float]] = {split: _of(best, split) for split in ("train", "val")}
    metrics["test"] = {}
    details: dict[str, Any] = {}
    if final:
        metrics[final["split"]] = final["metrics"]
        details = {"split": final["split"]} | task.details(
            final["evaluation"], prepared.dataset.name_of, lambda index: image_uri(prepared, index)
        )
    model = network(prepared.signature)
    if prepared.objects is not None:
        details["sizes"] = object_sizes(prepared, model)
    dataset, split, language = prepared.dataset, prepared.split, prepared.config.doctor.language
    return {
        "run": run.name,
        "task": dataset.task,
        "model": prepared.signature.model,
        "epochs": progress.epoch,
        "metrics": metrics,
        "seconds": round(sum(timings.values()), 3),
        "samples_per_second": epochs[-1]["samples_per_second"] if epochs else 0.0,
        "findings": findings_of(run, language, cures(prepared.config, len(split.train), language)),
        "best_epoch": progress.best_epoch,
        "monitor": task.spec.monitor,
        "better": task.spec.better,
        "parameters": sum(p.numel() for p in model.parameters()),
        "data": {
            "path": dataset.path,
            "format": dataset.format,
            "counts": {name: len(getattr(split, name)) for name in SPLITS},
            "classes": list(dataset.classes),
            "input": prepared.signature.input_shape,
            "how": split.how,
            "notes": list(dataset.notes),
            "problems": [{"where": p.where, "reason": p.reason} for p in dataset.problems],
        },
        "choices": [{"key": c.key, "value": c.value, "reason": c.reason} for c in prepared.choices],
        "transfer": prepared.transfer.to_dict() if prepared.transfer else None,
        "timings": timings,
        "test_looks": 1 if final and final["split"] == "test" else 0,
        "evaluation": details,
        "augmented": augmented_images(prepared),
        "stopped": progress.stopped,
        "folds": None,
    }


def _of(row: dict[str, Any], split: str) -> dict[str, float]:
    return {k.partition(".")[2]: v for k, v in row.items() if k.startswith(split + ".")}


def image_uri(prepared: Prepared, index: int) -> str:
    """Sample `index` as a data URI, or "" for table rows. Of one with objects in it, what lies around it is cut off."""
    if prepared.images is None:
        return ""
    image = prepared.images.some([index])[0]
    if prepared.objects is None:
        return to_data_uri(image, IMAGE_SIDE)
    placement = prepared.objects.placements[index]
    (left, top), (x, y) = (round(v) for v in placement.offset), placement.scale
    height, width = round(placement.original[0] * y), round(placement.original[1] * x)
    part = image[:, top : top + height, left : left + width]
    return to_data_uri(part, min(EXAMPLE_SIDE, max(part.shape[1:])))


def augmented_images(prepared: Prepared) -> list[str]:
    """Training images as the network saw them in its first batch, the normalisation undone."""
    if prepared.images is None:
        return []
    import numpy as np
    import torch

    augment, normalise = transforms(prepared)
    index: Sequence[int] = prepared.split.train[:AUGMENTED_SHOWN].tolist()
    draws = augment.draw(np.random.default_rng([prepared.config.seed, 0]), len(index))
    some = prepared.images.some(index)
    shown, targets = augment(some, None, prepared.targets.index_select(0, torch.tensor(index)), draws)
    images = normalise.undo(shown)
    if isinstance(targets, ObjectBatch):
        boxed = [draw_boxes(image, targets.image(i).boxes) for i, image in enumerate(images)]
        return [to_data_uri(image, OBJECTS_SIDE) for image in boxed]
    return [to_data_uri(image, IMAGE_SIDE) for image in images]

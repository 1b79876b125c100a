"""Facts that travel inside an exported file, so that it can be used without anything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from danlu import __version__
from danlu.inference.loaded_run import LoadedRun
from danlu.metrics.multilabel import DEFAULT_THRESHOLD

RESIZE = {
    "crop": "resize the shorter side to `canvas` pixels, crop the centre square",
    "letterbox": "resize the longer side to `canvas` pixels, centre on grey 114",
    "stretch": "resize to `canvas` x `canvas` pixels",
}


def facts_of(run: LoadedRun) -> dict[str, Any]:
    """Plain values by name: task, classes, size, resize rule, version, and the constants that decode the outputs."""
    signature = run.signature
    facts: dict[str, Any] = {
        "danlu_version": __version__,
        "task": signature.task,
        "model": signature.model,
        "classes": list(signature.classes),
        "targets": list(signature.target_names),
        "channels": signature.channels,
        "size": signature.size,
        "canvas": signature.canvas or signature.size,
        "fit": signature.fit,
        "resize": f"{RESIZE[signature.fit]}; bilinear, antialiased",
        "input": "uint8 (batch, canvas, canvas, channels)",
        "window": list(signature.window) if signature.window else None,
    }
    if signature.task_spec.several_labels:
        facts["thresholds"] = list(signature.thresholds or (DEFAULT_THRESHOLD,) * len(signature.classes))
    if signature.task_spec.labels_pixels:
        facts["output"] = (
            "float32 (batch, classes, canvas, canvas), probabilities; resized to the image, then the largest"
        )
    if signature.task_spec.finds_objects:
        detect = run.config.detect
        facts |= {"score": detect.score, "nms_iou": detect.overlap, "max_detections": detect.most}
    return facts


def as_text(facts: Mapping[str, Any]) -> dict[str, str]:
    """Metadata of a file: each fact as text, for readers, and all of them as JSON under "danlu", for programs."""
    readable = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in facts.items()}
    return readable | {"danlu": json.dumps(dict(facts), ensure_ascii=False)}

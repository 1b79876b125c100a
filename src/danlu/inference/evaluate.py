"""`danlu evaluate`: metrics of a trained run, or of a file of detections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from danlu.inference.coco_results import evaluate_results
from danlu.inference.evaluation_result import EvaluationResult
from danlu.inference.load import load
from danlu.message import message
from danlu.python_calls import python_names
from danlu.refuse import refusal
from danlu.run.folder import Run


@python_names()
def evaluate(
    run: str | Path | Run,
    data: Any = None,
    *,
    part: str | None = None,
    weights: str | None = None,
    device: str | None = None,
    tta: bool | str | None = None,
    model: Any = None,
    loss: Any = None,
    transform: Any = None,
    metrics: Any = None,
    out: str | Path | None = None,
) -> EvaluationResult:
    """Evaluate a run on a split of its own data, or on other labelled data with the run's classes.

    Args:
        run: A run folder; or a .json file with detections of any system in COCO's results form, evaluated against the
            annotations `data` (see `inference/coco_results.py`), with no other arguments.
        data, part, weights, device, tta, out: As for `LoadedRun.evaluate`.
        model, loss, transform, metrics: Objects of your own, as for `load`.

    Returns:
        Metrics of the split, with tables by class and the counts of samples.

    Raises:
        Refusal: Not a run, data of other classes, or a split that the data do not have.
    """
    if isinstance(run, str | Path) and Path(run).suffix.lower() == ".json":
        for name, value in {"part": part, "weights": weights, "device": device, "tta": tta, "out": out}.items():
            if value is not None:
                raise refusal(
                    f"--{name}",
                    message(
                        "inference.wanted.omitted_if_detections_given",
                        "omitted if detections are given, as in {run}",
                        run=run,
                    ),
                    value,
                )
        return evaluate_results(run, data)
    loaded = load(run, weights, model=model, loss=loss, transform=transform, metrics=metrics)
    return loaded.evaluate(data, part=part, device=device, tta=tta, out=out)

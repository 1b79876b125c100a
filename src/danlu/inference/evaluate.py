"""`danlu eval`: a trained network on its own splits, or on other labelled data."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from danlu.config import with_values
from danlu.data.dataset import SPLITS
from danlu.data.formats import open_dataset
from danlu.inference.coco_results import evaluate_results
from danlu.inference.measure import measure
from danlu.inference.trained_run import TrainedRun, open_trained
from danlu.preparation.prepare import prepare, prepare_for
from danlu.preparation.prepared import Prepared
from danlu.refuse import Refusal, one_of, refusal
from danlu.run.folder import Run


def evaluate(
    run: str | Path | Run,
    data: str | Path | None = None,
    *,
    part: str | None = None,
    weights: str | None = None,
    device: str | None = None,
    tta: bool | str | None = None,
) -> dict[str, Any]:
    """Metrics of a run's network, in the form of the summary: {"run", ..., "metrics": {"test": {...}}, ...}.

    data: other labelled data, of the run's classes; all of it is used, or its test split where it prescribes one.
    Without data: the run's own split `part` (train, val or test; test by default). A look at the run's own test split
    is counted in its summary, for each look makes the figure less of a surprise: `result["test_looks"]`.
    A run that is the path of a .json file holds detections of any system: see `inference/coco_results.py`.
    """
    settings = {"device": device, "tta": tta}
    if isinstance(run, str | Path) and Path(run).suffix.lower() == ".json":
        for name, value in ({"part": part, "weights": weights} | settings).items():
            if value is not None:
                raise refusal(f"--{name}", f"left out where detections are given, as in {run}", value)
        return evaluate_results(run, data)
    trained = open_trained(run, weights)
    config = with_values(trained.config, {k: v for k, v in settings.items() if v is not None})
    if data is not None and part is not None:
        raise refusal("--part", "left out when other DATA is given", part)
    began = time.perf_counter()
    if data is None:
        part = one_of("--part", part or "test", SPLITS, "train, val or test")
        prepared = prepare(config, trained.weights("start"))
        _check_same(trained, prepared)
        if not len(getattr(prepared.split, part)):
            has = ", ".join(name for name in SPLITS if len(getattr(prepared.split, name)))
            raise refusal("--part", f"a split that the run has ({has})", part)
    else:
        part, prepared = "test", _other_data(trained, replace(config, data=replace(config.data, path=str(data))))
    measured = measure(trained, prepared, part)
    seconds = time.perf_counter() - began
    looks = _count_look(trained) if data is None and part == "test" else None
    samples = len(getattr(prepared.split, part))
    return {
        "run": trained.name,
        "task": trained.signature.task,
        "model": trained.signature.model,
        "epochs": trained.summary.get("epochs", 0),
        "metrics": {name: measured["metrics"] if name == part else {} for name in SPLITS},
        "seconds": round(seconds, 3),
        "samples_per_second": samples / max(seconds, 1e-9),
        "findings": trained.findings,
        "data": str(data) if data is not None else trained.config.data.path,
        "part": part,
        "samples": samples,
        "test_looks": looks,
    }


def _other_data(trained: TrainedRun, config: Any) -> Prepared:
    """Data the run was not made from, in the shape its network takes."""
    plain = replace(config.data, val=None, test=None, fold=None, folds=None, split="random", limit=None, cache=None)
    dataset = open_dataset(plain, trained.signature.task)
    if trained.signature.columns is not None and dataset.kind in ("images", "files"):
        raise refusal("DATA", "a table of rows", f"{dataset.path}, which holds images")
    index = torch.arange(len(dataset))
    if dataset.given is not None and (dataset.given == SPLITS.index("test")).any():
        index = index[dataset.given == SPLITS.index("test")]
    return prepare_for(trained.signature, replace(config, data=plain), dataset, index)


def _check_same(trained: TrainedRun, prepared: Prepared) -> None:
    """The run's own data must still be what its network was trained on, or classes would be taken for others."""
    now, then = prepared.signature, trained.signature
    shape = () if then.columns is not None else ("input_shape",)  # rows are encoded by the network's own columns
    for what in ("task", "classes", "target_names", *shape):
        is_now, was = getattr(now, what), getattr(then, what)
        if is_now != was:
            raise Refusal(
                f"the data of {trained.name}, {trained.config.data.path}, is not what its network was trained on: "
                f"{what.replace('_', ' ')} {_short(was)} then, {_short(is_now)} now; give the right DATA, or train anew"
            )


def _short(value: Any) -> str:
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _count_look(trained: TrainedRun) -> int:
    summary = trained.summary
    if not summary:
        return 1
    summary["test_looks"] = summary.get("test_looks", 0) + 1
    trained.write_json("summary.json", summary)
    return summary["test_looks"]

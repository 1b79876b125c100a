"""Data that a trained run is evaluated on: a split of its own, or other labelled data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from danlu.config import Config
from danlu.data.dataset import SPLITS
from danlu.data.formats import open_dataset
from danlu.message import message
from danlu.own.data import open_data
from danlu.own.recognition import is_data
from danlu.preparation.other_data import prepare_for
from danlu.preparation.prepare import prepare
from danlu.preparation.prepared import Prepared
from danlu.refuse import Refusal, refusal
from danlu.run.folder import Run
from danlu.run.signature import Signature
from danlu.user_objects import PREFIX, is_own


def own_data(run: Run, signature: Signature, config: Config, split: str) -> Prepared:
    """Read the run's own data. Raises Refusal if it has changed since the training or has no such split."""
    prepared = prepare(config, run.weights("start"))
    _check_unchanged(run, prepared.signature, signature)
    if not len(getattr(prepared.split, split)):
        has = ", ".join(name for name in SPLITS if len(getattr(prepared.split, name)))
        raise refusal(
            "--part", message("inference.wanted.split_run", "a split that the run has ({has})", has=has), split
        )
    return prepared


def other_data(signature: Signature, config: Config, data: Any) -> Prepared:
    """Read other labelled data in the encoding of the network; its test split where it defines one, else all of it."""
    settings = replace(
        config.data,
        path="" if is_data(data) else str(data),
        val=None,
        test=None,
        fold=None,
        folds=None,
        split="random",
        limit=None,
        cache=None,
    )
    window = signature.window if settings.window is None else settings.window
    settings = replace(settings, window=window)
    if is_data(data):
        raw = is_own(signature.model)
        settings = replace(settings, target=config.data.target if signature.columns is not None else None)
        dataset, _ = open_data(data, None, None, settings, signature.task, raw=raw, classes=signature.classes)
        dataset = replace(dataset, raw=raw)
    else:
        dataset = open_dataset(settings, signature.task, classes_known=True)
    if signature.columns is not None and dataset.kind in ("images", "files"):
        raise refusal(
            "DATA",
            message("inference.wanted.table_rows", "a table of rows"),
            message("inference.got.images", "{path}, which has images", path=dataset.path),
        )
    index = torch.arange(len(dataset))
    if dataset.given is not None and (dataset.given == SPLITS.index("test")).any():
        index = index[dataset.given == SPLITS.index("test")]
    return prepare_for(signature, replace(config, data=settings), dataset, index)


def is_training_data(run: Run, prepared: Prepared, data: Any) -> bool:
    """Return whether `data`, evaluated as a whole, are those that the run was trained on.

    prepared: of the evaluation. data: a path, a known set, or objects, which are the same where name and size are.
    """
    samples = len(prepared.dataset)
    if data is None or len(prepared.split.test) < samples:
        return False
    trained = run.config.data.path
    if is_data(data):
        return trained == PREFIX + prepared.dataset.path and sum(run.summary.data.counts.values()) == samples
    given, known = Path(data).expanduser(), Path(trained).expanduser()
    return given == known or (given.exists() and given.resolve() == known.resolve())


def _check_unchanged(run: Run, now: Signature, then: Signature) -> None:
    """Refuse data with other classes, targets or input shape than the network was trained on."""
    shape = () if then.columns is not None else ("input_shape",)  # rows are encoded by the network's own columns
    for what in ("task", "classes", "target_names", *shape):
        is_now, was = getattr(now, what), getattr(then, what)
        if is_now != was:
            raise Refusal(
                message(
                    "inference.refuse.data_changed_since_training",
                    "the data of {name}, {path}, have changed since the training: {what} was {short}, is "
                    "{count}; give the right DATA, or train again",
                    name=run.name,
                    path=run.config.data.path,
                    what=what.replace("_", " "),
                    short=_short(was),
                    count=_short(is_now),
                )
            )


def _short(value: Any) -> str:
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= 60 else f"{text[:60]}..."

"""Datasets of scikit-learn by name: the included ones, and california-housing, which is downloaded."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch

from danlu.config import DataConfig
from danlu.data.dataset import Dataset
from danlu.data.known_sets import SKLEARN
from danlu.data.sources.named.download import reason, socket_timeout
from danlu.data.sources.tables.targets import sort_classes
from danlu.message import message
from danlu.refuse import Failure


def open(name: str, folder: Path, config: DataConfig) -> Dataset:
    """Load a dataset as float32 columns (N, D), digits as images (N, 1, 8, 8). folder: of downloaded datasets.

    Raises Failure if a set that must be fetched cannot be.
    """
    import sklearn.datasets

    known = SKLEARN[name]
    load = getattr(sklearn.datasets, known.loader)
    if known.loader.startswith("fetch"):
        try:
            with socket_timeout(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # its warnings about retries
                bunch = load(data_home=str(folder), n_retries=1, delay=0.1)
        except OSError as error:
            raise Failure(
                message(
                    "data.refuse.found_under_cannot_downloaded",
                    "{name} was not found under {folder} and cannot be downloaded: {reason}; put its csv "
                    "there, or set DANLU_DATA to its folder",
                    name=name,
                    folder=folder / name,
                    reason=reason(error),
                )
            ) from None
    else:
        bunch = load()
    inputs: np.ndarray = bunch.data
    if name == "digits":  # values 0 to 16
        inputs = np.round(bunch.images[:, None] * (255 / 16)).astype(np.uint8)
    else:
        inputs = inputs.astype(np.float32)
    common = {"path": name, "format": "scikit-learn", "inputs": torch.from_numpy(np.ascontiguousarray(inputs))}
    if known.target:
        numbers = torch.from_numpy(bunch.target.reshape(-1, 1).astype(np.float32))
        return Dataset(task="regress", targets=numbers, target_names=(known.target,), **common)
    names = [str(label) for label in bunch.target_names]
    classes, targets = sort_classes(names, torch.from_numpy(bunch.target.astype(np.int64)))
    return Dataset(task="classify", targets=targets, classes=classes, **common)

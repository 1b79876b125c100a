"""Training for the experiments: danlu without output, and the digits as plain tensors for hand-written loops."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor

import danlu
from danlu.config import DataConfig
from danlu.data.formats import open_dataset
from danlu.data.split import split_dataset


def train(data: str = "digits", **settings: Any) -> dict[str, Any]:
    """Run `danlu.train` silently in a temporary folder; return the summary, with its record under "epochs"."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "run")
        given = {"precision": "fp32", "device": "cpu"} | settings  # the same numbers on every machine
        run = danlu.train(data, console=Console(quiet=True), out=out, **given)
        return run.summary | {"record": run.record.of("epoch")}


def digits(seed: int = 0, limit: int | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Load the digits: standardised inputs float32 (n, 1, 8, 8) and classes (n,), for training and validation."""
    config = DataConfig(path="digits", limit=limit)
    dataset = open_dataset(config, None)
    split = split_dataset(dataset, config, seed)
    images = dataset.inputs.float()
    images = (images - images[split.train].mean()) / images[split.train].std()
    return images[split.train], dataset.targets[split.train], images[split.val], dataset.targets[split.val]

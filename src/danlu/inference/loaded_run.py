"""A finished run as a Python object: its summary, its network, its predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from danlu.inference.evaluate import evaluate
from danlu.inference.predict import predict
from danlu.inference.trained_run import TrainedRun, open_trained
from danlu.run.folder import Run


class LoadedRun(TrainedRun):
    """What `danlu.train` gives and `danlu.load` reads.

    `run.summary`, `run.findings`, `run.config`, `run.model` (the network, on the CPU, in eval mode; `run.members`
    of an ensemble), `run.predict(...)`, `run.evaluate(...)`.
    """

    def predict(self, *inputs: Any, **settings: Any) -> list[dict[str, Any]]:
        """See `danlu.predict`."""
        return predict(self, *inputs, **settings)

    def evaluate(self, data: str | Path | None = None, **settings: Any) -> dict[str, Any]:
        """See `danlu.evaluate`."""
        return evaluate(self, data, **settings)


def load(run: str | Path | Run, weights: str | None = None) -> LoadedRun:
    """Open a run folder. weights: "best" (the default) or "last". Refusal when it is no run or has no such weights."""
    trained = open_trained(run, weights)
    loaded = LoadedRun(trained.folder)
    loaded.weights_used = trained.weights_used
    return loaded

"""A finished run, ready to use: its weights, its summary, its predictions."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from danlu.assemble import network
from danlu.engine.checkpoint import fill, read_weights
from danlu.refuse import choose
from danlu.run import Run
from danlu.signature import Signature


class TrainedRun(Run):
    """What `danlu.train` gives and `danlu.load` reads: `run.summary`, `run.findings`, `run.model`, `run.predict(...)`."""

    weights_used = "best"

    @cached_property
    def _loaded(self) -> tuple[Signature, dict[str, Tensor]]:
        return read_weights(self.weights(self.weights_used))

    @property
    def signature(self) -> Signature:
        return self._loaded[0]

    @cached_property
    def model(self) -> nn.Module:
        """The trained network on the CPU, in eval mode; it takes normalised inputs (see `signature`)."""
        signature, state = self._loaded
        model = network(signature)
        fill(model, state, self.weights(self.weights_used))
        return model.eval()

    def predict(self, *inputs: Any, **settings: Any) -> list[dict[str, Any]]:
        """See `danlu.predict`."""
        from danlu.verbs.predict import predict

        return predict(self, *inputs, **settings)

    def evaluate(self, data: Any = None, **settings: Any) -> dict[str, Any]:
        """See `danlu.evaluate`."""
        from danlu.verbs.evaluate import evaluate

        return evaluate(self, data, **settings)


def load(run: str | Path | Run, weights: str = "best") -> TrainedRun:
    """Open a run folder. weights: "best" or "last". Refusal when it is no run, or has no such weights yet."""
    folder = run.folder if isinstance(run, Run) else Path(run)
    opened = TrainedRun.open(folder)
    assert isinstance(opened, TrainedRun)
    opened.weights_used = choose("--weights", weights, ("best", "last"), "best or last")
    _ = opened.signature  # a missing or damaged file is said here, not at the first prediction
    return opened

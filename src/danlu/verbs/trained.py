"""A run with its trained network."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from torch import Tensor, nn

from danlu.engine.checkpoint import fill, read_weights
from danlu.prepare import network
from danlu.refuse import Refusal, choose
from danlu.run import Run
from danlu.signature import Signature


class TrainedRun(Run):
    """A run folder whose weights can be used. weights_used: "best" or "last"."""

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
        try:
            model = network(signature)
        except (Refusal, TypeError, ValueError, RuntimeError) as error:
            path = self.weights(self.weights_used)
            raise Refusal(f"weights file {path} describes a network that cannot be built: {error}") from None
        fill(model, state, self.weights(self.weights_used))
        return model.eval()


def open_trained(run: str | Path | Run, weights: str | None = None) -> TrainedRun:
    """The run with the weights that are to be used: those of an open run, else the best, unless others are named."""
    if isinstance(run, TrainedRun) and weights in (None, run.weights_used):
        return run
    folder = run.folder if isinstance(run, Run) else Path(run)
    trained = TrainedRun(Run.open(folder).folder)
    trained.weights_used = choose("--weights", weights or "best", ("best", "last"), "best or last")
    _ = trained.signature  # a missing or damaged file is said here, not at the first prediction
    return trained

"""`danlu predict`: predictions of a trained run on unlabelled images or rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from danlu.inference.load import load
from danlu.inference.prediction import Prediction
from danlu.python_calls import python_names
from danlu.run.folder import Run


@python_names()
def predict(
    run: str | Path | Run,
    *inputs: Any,
    top: int | str = 3,
    out: str | Path | None = None,
    weights: str | None = None,
    device: str | None = None,
    tta: bool | str | None = None,
    score: float | str | None = None,
    camera: str | Sequence[float] | None = None,
    model: Any = None,
    transform: Any = None,
) -> list[Prediction]:
    """Predict with the network of a run folder: `load(run, ...).predict(...)` in one call.

    Args:
        run: A run folder, a zip file of `danlu.share`, or a loaded run.
        inputs, top, out, weights, device, tta, score, camera: As for `LoadedRun.predict`.
        model, transform: Objects of your own, as for `load`.

    Returns:
        One prediction per image, clip or row, in their order.

    Raises:
        Refusal: Not a run, or inputs that its network cannot take.
    """
    loaded = load(run, weights, model=model, transform=transform)
    return loaded.predict(*inputs, top=top, out=out, device=device, tta=tta, score=score, camera=camera)

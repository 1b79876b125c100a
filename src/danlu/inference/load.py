"""`danlu.load`: open a finished run, with the objects of the user that it was trained with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from danlu.inference.given_objects import check_given
from danlu.inference.loaded_run import LoadedRun, checked_weights
from danlu.message import message
from danlu.own.collect import collect
from danlu.python_calls import python_names
from danlu.refuse import refusal
from danlu.run.folder import Run
from danlu.user_objects import current


@python_names()
def load(
    run: str | Path | Run,
    weights: str | None = None,
    *,
    model: Any = None,
    loss: Any = None,
    transform: Any = None,
    metrics: Any = None,
) -> LoadedRun:
    """Open a run folder, or the zip file of a run.

    Args:
        run: The folder, the file, or an open run.
        weights: "best" or "last"; by default those of an open run, else "best".
        model, loss, transform, metrics: Objects of your own with which the run was trained, as `danlu.train` takes
            them. Loading a run never imports code, so that a network and a transform must be given here; loss and
            metrics are needed by `evaluate`.

    Returns:
        The run, with its metrics, findings and network.

    Raises:
        Refusal: The folder is not a run, its weights are missing or damaged, or its network is not given.
    """
    objects = {"model": model, "loss": loss, "transform": transform, "metrics": metrics}
    objects = {name: one for name, one in objects.items() if one is not None}
    if isinstance(run, LoadedRun) and weights in (None, run.weights_used) and not objects:
        return run
    known = run.objects if isinstance(run, LoadedRun) else current()
    _, own = collect(objects)
    for kind in [kind for kind in objects if getattr(own, kind) is None]:  # text that names no object
        wanted = message(
            "inference.wanted.own_object",
            "FILE.py:NAME, and omitted where the training had no {kind} of your own",
            kind=kind,
        )
        raise refusal(f"--{kind}", wanted, objects[kind])
    given = own.or_else(known)
    folder = run.folder if isinstance(run, Run) else run
    which = checked_weights("best" if weights is None else weights)
    loaded = LoadedRun(Run.open(folder).folder, which, given)
    signature = loaded.network.signature  # refuse damaged weights here, not at the first prediction
    check_given(loaded.folder, given, {"model": signature.model, "transform": signature.transform})
    return loaded


def opened(run: Run) -> LoadedRun:
    """As `load`, but objects of the user are asked for by the first prediction only."""
    loaded = LoadedRun(run.folder, "best", current())
    loaded.network.signature  # noqa: B018  # refuse damaged weights
    return loaded

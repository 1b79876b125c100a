"""`danlu pretrain`: train the features of a network on images without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from danlu.inference.loaded_run import LoadedRun
from danlu.message import message
from danlu.python_calls import python_names
from danlu.refuse import Refusal
from danlu.run.folder import Run
from danlu.task_spec import targets_of
from danlu.training.train import train


@python_names()
def pretrain(
    data: Any = "",
    *,
    method: str | None = None,
    tokenizer: str | None = None,
    mask: float | None = None,
    resume: str | Path | Run | None = None,
    config: str | Path | None = None,
    console: Console | None = None,
    **settings: Any,
) -> LoadedRun:
    """Train the backbone of a network on images without labels, for `danlu.train(..., init=run)`.

    Args:
        data: A folder of images, or any data set of images; class labels are used to measure progress only.
        method: mae, simmim, beit (masked images) or simclr, simsiam, byol (two views of each image).
        tokenizer: Of beit: vq or kmeans.
        mask: Fraction of each image that is hidden.
        resume: Folder of a pretraining to continue.
        config: A YAML file to start from.
        console: Where progress is shown.
        settings: Any other setting of `danlu.train`, by dotted or nested name: `model="vit-mini"`, `epochs=100`.

    Returns:
        The run; `run.metrics.val` holds loss, baseline, std and rank.

    Raises:
        Refusal: Wrong input, in one sentence.
        Failure: The training fails.
        Interrupted: A signal stopped it; it can be resumed.
    """
    named = {"pretrain.method": method, "pretrain.tokenizer": tokenizer, "pretrain.mask": mask}
    given = {name: value for name, value in named.items() if value is not None} | settings
    if resume is not None:
        run = Run.open(resume.folder if isinstance(resume, Run) else resume)
        if targets_of(run.config.task) != "none":
            text = "--resume {run}: it is a run of danlu train; go on with `danlu train --resume {run}`"
            raise Refusal(message("refuse.resume_not_pretraining", text, run=run.name))
        return train(data, resume=run, console=console, **given)
    return train(data, task="pretrain", config=config, console=console, **given)

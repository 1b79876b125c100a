"""`danlu train`: train a network on data, evaluate it and write a report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from danlu.config import Config, load_yaml, with_values
from danlu.inference.loaded_run import LoadedRun
from danlu.message import speaking
from danlu.refuse import refusal
from danlu.run.folder import Run
from danlu.training.folds import folds_unfinished, train_folds
from danlu.training.train_run import new_job, resume_run, resumed_config, train_run


def train(
    data: str | Path = "",
    *,
    config: str | Path | None = None,
    resume: str | Path | None = None,
    console: Console | None = None,
    **settings: Any,
) -> LoadedRun:
    """Train a network on `data` and write a run folder.

    data: a file, a folder or the name of a known data set. config: a YAML file to start from. resume: folder of a run
    to continue. settings: any setting of the config tree, by short, dotted or nested name: `lr=0.1`,
    `optim={"momentum": 0.8}`. console: where progress is shown; standard output by default, `Console(quiet=True)` for
    silence.

    Returns the run: `run.metrics.test.accuracy`, `run.summary`, `run.findings`, `run.predict(...)`. Raises Refusal for
    wrong input, Failure when the training fails, Interrupted when a signal stopped it.
    """
    console = console or Console()
    if resume is not None:
        if data or config:
            raise refusal("--resume", "alone, for it knows its data and config", str(data or config))
        return _resume(Path(resume), settings, console)
    base = load_yaml(config) if config else Config()
    wanted = with_values(base, ({"data.path": str(data)} if data else {}) | settings)
    _check_folds(wanted)
    with speaking(wanted.doctor.language):
        if wanted.data.folds and wanted.data.fold is None:
            return train_folds(wanted, console)
        return train_run(new_job(wanted, console), console)


def _check_folds(config: Config) -> None:
    """Refuse cross-validation settings that contradict each other."""
    data = config.data
    if data.refit and not data.folds:
        raise refusal("--refit", "left out without --folds", data.refit)
    if data.fold is not None and not data.folds:
        raise refusal("data.fold", "left out without --folds", data.fold)
    if data.folds and isinstance(data.val, int | float):
        raise refusal("--val", "left out with --folds, whose every part validates once", data.val)


def _resume(folder: Path, settings: Mapping[str, Any], console: Console) -> LoadedRun:
    """Continue a run, or a cross-validation."""
    run = Run.open(folder)
    with speaking(run.config.doctor.language), run.locked():
        config = resumed_config(run, settings)
        if folds_unfinished(run, config):
            return train_folds(config, console, run)
        return resume_run(run, config, console)

"""k-fold cross-validation: k runs in one folder, mean and standard deviation of their metrics, and one final model."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from rich.console import Console
from torch import nn

from danlu.advice.earlier import remember_earlier
from danlu.config import Config, dump_yaml, with_values
from danlu.engine.checkpoint import save_weights
from danlu.engine.loop import Progress
from danlu.engine.saving import Interrupted
from danlu.inference.load import load
from danlu.inference.loaded_run import LoadedRun
from danlu.message import translated
from danlu.preparation.prepare import prepare
from danlu.preparation.prepared import Prepared
from danlu.printing.lines import print_and_log, print_line
from danlu.refuse import Failure
from danlu.run.atomic import write_atomically
from danlu.run.folder import Run
from danlu.run.names import metric_key
from danlu.training.choose_thresholds import mean_thresholds
from danlu.training.finish import complete_run, finish_run, write_results
from danlu.training.live_page import follow
from danlu.training.train_run import NO_FOLDS, FromFolds, Guidance, new_job, resume_run, train_run
from danlu.user_objects import resume_command

PART = Guidance(remember=False)  # the other folds are no earlier attempts, and the parent run knows those
WEIGHTS = tuple(f"weights/{which}.safetensors" for which in ("best", "last", "start", "features"))
COPIED = ("environment.json", "metrics.jsonl")  # from the run of the final model to the parent run


def train_folds(config: Config, console: Console, run: Run | None = None) -> LoadedRun:
    """Train one run per fold inside the run folder, then make the final model as `data.refit` says.

    all: train again on the samples of all folds, for the mean of the folds' best epochs. best: keep the fold with the
    best validation metric. ensemble: average the outputs of all folds. The final model is evaluated on the test set
    once; the folds are not (claims E1).
    run: an interrupted cross-validation; its finished folds are kept and the unfinished one is continued.
    """
    refit = config.data.refit or "all"
    single = with_values(config, {"data.folds": None, "data.refit": None, "out": None})
    fresh = run is None
    run = run or Run.create(config.out)
    try:
        if fresh:
            remember_earlier(run, config)
            run.write_text("config.yaml", dump_yaml(config))
            follow(run)
        folds: list[LoadedRun] = []
        for number in range(config.data.folds or 0):
            heading = translated("printing.fold", "fold {fold} of {folds}", fold=number + 1, folds=config.data.folds)
            print_line(console, heading, style="bold")
            settings = with_values(config, {"data.fold": number, "data.refit": None})
            folds.append(_train_part(run, f"fold-{number}", settings, console))
        kept = _best_fold(folds)
        if refit == "all":
            epochs = [fold.summary.best_epoch or 0 for fold in folds]
            settings = with_values(single, {"data.val": 0, "epochs": max(1, round(statistics.mean(epochs)))})
            kept = _train_part(run, "refit", settings, console, _means(folds))
        for name in COPIED:
            run.write_bytes(name, kept.checked(kept.folder / name).read_bytes())
        for name in WEIGHTS:
            if (source := kept.folder / name).exists():  # weights/start only with --init
                write_atomically(run.folder / name, partial(shutil.copyfile, source))
        _finish_folds(run, kept, folds, refit, console)
    except Interrupted as stopped:
        raise Interrupted(stopped.reason, stopped.code, resume_command("train", run.name)) from None
    except Failure:  # the metrics so far explain it
        raise
    except Exception:
        if fresh:
            run.withdraw()
        raise
    finally:
        run.unlock()
    return load(run)


def folds_unfinished(run: Run, config: Config) -> bool:
    """Return whether a run is a cross-validation that has folds or its final model still to train.

    With `refit: all` the folds are removed from config.yaml as the last step of all.
    """
    if not config.data.folds or config.data.fold is not None:
        return False
    return not run.summary.folds or config.data.refit in (None, "all")


def _means(folds: Sequence[LoadedRun]) -> FromFolds:
    """Mean thresholds, and the geometric mean of the temperatures."""
    thresholds = mean_thresholds([fold.signature.thresholds for fold in folds])
    return FromFolds(thresholds, statistics.geometric_mean(fold.signature.temperature for fold in folds))


def _train_part(run: Run, name: str, config: Config, console: Console, from_folds: FromFolds = NO_FOLDS) -> LoadedRun:
    """Train the fold (or refit) in the sub-folder `name`; continue it where it was interrupted.

    from_folds: for a refit, which has no validation set.
    """
    folder = run.folder / name
    if (folder / "config.yaml").is_file():
        part = Run.open(folder)
        with part.locked():
            return resume_run(part, part.config, console, from_folds, PART)
    shutil.rmtree(folder, ignore_errors=True)  # killed before it had begun
    return train_run(replace(new_job(config, console, str(folder), PART), from_folds=from_folds), console)


def _best_fold(folds: Sequence[LoadedRun]) -> LoadedRun:
    monitor, better = folds[0].summary.monitor, folds[0].summary.better
    return (max if better == "high" else min)(folds, key=lambda fold: fold.metrics.val[monitor])


def over_folds(values: Sequence[Mapping[str, float | None]]) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and standard deviation of each metric that all folds have.

    Errors of poses are None in a fold where no object is found.
    """
    columns = {name: [number for one in values if (number := one.get(name)) is not None] for name in values[0]}
    whole = {name: column for name, column in columns.items() if len(column) == len(values)}
    return {k: statistics.mean(v) for k, v in whole.items()}, {k: statistics.stdev(v) for k, v in whole.items()}


def _finish_folds(run: Run, kept: LoadedRun, folds: Sequence[LoadedRun], refit: str, console: Console) -> None:
    """Write the parent run's summary: metrics of the folds, and those of the final model."""
    values = [fold.metrics.val.to_json() for fold in folds]
    means, deviations = over_folds(values)
    figures = translated("report.comma", ", ").join(
        f"{metric_key(name)} {means[name]:.4f} +- {deviations[name]:.4f}" for name in means
    )
    text = "validation over {folds} folds: {metrics}"
    line = translated("printing.folds", text, folds=len(values), metrics=figures)
    print_and_log(console, run, line)
    fields: dict[str, Any] = {
        "folds": [{"fold": number, "val": one} for number, one in enumerate(values)],
        "refit": refit,
        "fold_mean": means,
        "fold_std": deviations,
    }
    config = with_values(kept.config, {"data.fold": None, "data.refit": None if refit == "all" else refit})
    if refit == "all":
        summary = replace(kept.summary, run=run.name, **fields)
        # The results first: config.yaml no longer mentions the folds, so a kill between the two would lose them.
        write_results(run, summary)
        run.write_text("config.yaml", dump_yaml(config))
        complete_run(run, summary, console)
        return
    prepared = prepare(config, kept.weights("start"))
    if refit == "ensemble":
        _save_ensemble(run, prepared, folds)
        fields["parameters"] = sum(fold.summary.parameters for fold in folds)
    run.write_text("config.yaml", dump_yaml(config))
    progress = Progress(epoch=kept.summary.epochs, best_epoch=kept.summary.best_epoch or 0)
    finish_run(run, prepared, progress, kept.summary.timings, console, **fields)


def _save_ensemble(run: Run, prepared: Prepared, folds: Sequence[LoadedRun]) -> None:
    """Write the networks of all folds into one weights file, each with the signature of its fold."""
    members = tuple(fold.signature for fold in folds)
    signature = replace(prepared.signature, members=members, thresholds=_means(folds).thresholds)
    networks = nn.ModuleList([fold.model for fold in folds])
    for which in ("best", "last"):
        save_weights(run.weights(which), networks, signature)

"""k-fold cross validation: k runs in one folder, their mean and standard deviation, and one model to keep."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

from rich.console import Console
from torch import nn

from danlu.config import Config, dump_yaml, with_values
from danlu.engine.checkpoint import save_weights
from danlu.engine.loop import Progress
from danlu.engine.saving import Interrupted
from danlu.inference.loaded_run import LoadedRun, load
from danlu.message import translated
from danlu.preparation.prepare import prepare
from danlu.preparation.prepared import Prepared
from danlu.refuse import Refusal
from danlu.run.folder import Run
from danlu.run.names import metric_key
from danlu.training.finish import conclude, write_summary

WEIGHTS = tuple(f"weights/{which}.safetensors" for which in ("best", "last", "start"))
KEPT = ("environment.json", "metrics.jsonl", *WEIGHTS)


def train_folds(
    config: Config,
    console: Console,
    train_one: Callable[..., LoadedRun],
    resume_one: Callable[..., LoadedRun],
    run: Run | None = None,
) -> LoadedRun:
    """Each fold is a run of its own under the run folder; `data.refit` says what becomes of them (claims E1).

    all: the network is trained once more on every fold's samples, for as many epochs as the folds' best epochs were on
    average. best: the fold with the best validation figure is kept. ensemble: the outputs of all folds are averaged.
    The test split takes no part until then; the model that is kept is evaluated on it once.
    run: one that was interrupted; its finished folds are kept and the unfinished one goes on.
    """
    refit = config.data.refit or "all"
    whole = with_values(config, {"data.folds": None, "data.refit": None, "out": None})
    fresh = run is None
    run = run or Run.create(config.out)

    def train(settings: Config, name: str) -> LoadedRun:
        folder = run.folder / name
        if (folder / "config.yaml").is_file():
            return resume_one(folder, {}, console)
        shutil.rmtree(folder, ignore_errors=True)  # killed before it had begun
        return train_one(settings, console, str(folder))

    try:
        if fresh:
            run.write_text("config.yaml", dump_yaml(config))
        folds: list[LoadedRun] = []
        for number in range(config.data.folds or 0):
            console.print(
                translated("printing.fold", "fold {fold} of {folds}", fold=number + 1, folds=config.data.folds),
                style="bold",
            )
            one = with_values(config, {"data.fold": number, "data.refit": None})
            folds.append(train(one, f"fold-{number}"))
        monitor, better = folds[0].summary["monitor"], folds[0].summary["better"]
        best = (max if better == "high" else min)(folds, key=lambda fold: fold.summary["metrics"]["val"][monitor])
        if refit == "all":
            epochs = max(1, round(statistics.mean(fold.summary["best_epoch"] for fold in folds)))
            settings = {"data.val": 0, "epochs": epochs}
            kept = train(with_values(whole, settings), "refit")
        else:
            kept = best
        for name in KEPT:
            if (kept.folder / name).exists():  # weights/start only with --init
                shutil.copyfile(kept.folder / name, run.folder / name)
        _conclude(run, kept, folds, refit, console)
    except Interrupted as stopped:
        reason = str(stopped).partition(";")[0]
        raise Interrupted(f"{reason}; go on with `danlu train --resume {run.name}`", stopped.code) from None
    except Refusal:
        if fresh:
            run.withdraw()
        raise
    finally:
        run.unlock()
    return load(run)


def _conclude(run: Run, kept: LoadedRun, folds: Sequence[LoadedRun], refit: str, console: Console) -> None:
    """The parent run's summary: the folds' figures beside the kept model's own."""
    rows = [{"fold": n, "val": fold.summary["metrics"]["val"]} for n, fold in enumerate(folds)]
    means = {k: statistics.mean(row["val"][k] for row in rows) for k in rows[0]["val"]}
    spread = {k: statistics.stdev(row["val"][k] for row in rows) for k in rows[0]["val"]}
    said = translated("report.comma", ", ").join(f"{metric_key(k)} {means[k]:.4f} +- {spread[k]:.4f}" for k in means)
    console.print(
        translated("printing.folds", "validation over {folds} folds: {metrics}", folds=len(rows), metrics=said),
        highlight=False,
        soft_wrap=True,
    )
    extra = {"folds": rows, "refit": refit, "fold_mean": means, "fold_std": spread}
    config = with_values(kept.config, {"data.fold": None, "data.refit": None if refit == "all" else refit})
    if refit == "all":
        summary = kept.summary | extra | {"run": run.name}
        # The new config says nothing of folds: written before the summary, a kill between them would lose the folds.
        run.write_json("summary.json", summary)
        run.write_text("config.yaml", dump_yaml(config))
        write_summary(run, summary, console)
        return
    prepared = prepare(config, kept.weights("start"))
    if refit == "ensemble":
        _save_ensemble(run, prepared, folds)
        extra["parameters"] = sum(fold.summary["parameters"] for fold in folds)
    run.write_text("config.yaml", dump_yaml(config))
    progress = Progress(epoch=kept.summary["epochs"], best_epoch=kept.summary["best_epoch"])
    conclude(run, prepared, progress, kept.summary["timings"], console, extra=extra)


def _save_ensemble(run: Run, prepared: Prepared, folds: Sequence[LoadedRun]) -> None:
    """All folds' networks in one weights file, each with the signature of its own fold."""
    signature = replace(prepared.signature, members=tuple(fold.signature for fold in folds))
    networks = nn.ModuleList([fold.model for fold in folds])
    for which in ("best", "last"):
        save_weights(run.weights(which), networks, signature)

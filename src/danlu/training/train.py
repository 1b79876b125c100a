"""`danlu train`: data on disk to a trained, evaluated, reported model."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from rich.console import Console

from danlu.advice.fixes import cures
from danlu.config import Config, dump_yaml, load_yaml, with_values
from danlu.engine.checkpoint import read_state, save_tensors
from danlu.engine.device import make_fabric
from danlu.engine.display import Display
from danlu.engine.doctor_watcher import Examiner
from danlu.engine.loop import Progress, Watcher, fit
from danlu.engine.processes import Agreement, launch
from danlu.engine.saving import INTERRUPTED, Interrupted, Saver, StopSignal
from danlu.inference.loaded_run import LoadedRun, load
from danlu.learning.losses import class_weights
from danlu.message import speaking
from danlu.preparation.assemble import make_plan
from danlu.preparation.networks import network
from danlu.preparation.object_facts import tell_of_objects
from danlu.preparation.prepare import prepare
from danlu.preparation.prepared import Prepared
from danlu.printing.results import print_choices
from danlu.refuse import Refusal, refusal
from danlu.run.folder import Run
from danlu.run.record import Record
from danlu.training.environment import environment
from danlu.training.finish import conclude
from danlu.training.fit_closed_form import settle
from danlu.training.folds import train_folds

RESUMABLE = ("epochs", "device", "data.workers", "log_every", "save_every")  # may change when a run goes on


def train(
    data: str | Path = "",
    *,
    config: str | Path | None = None,
    resume: str | Path | None = None,
    console: Console | None = None,
    **settings: Any,
) -> LoadedRun:
    """Train a network on `data` and leave a run folder.

    data: a file, a folder or the name of a known set. config: a YAML file to start from. resume: a run to go on with.
    settings: any setting of the config tree, by short, dotted or nested name: `lr=0.1`, `optim={"momentum": 0.8}`.
    console: where progress is shown; standard output by default, `Console(quiet=True)` for silence.

    Gives the run: `run.summary`, `run.findings`, `run.predict(...)`. Raises Refusal for wrong input, Failure when the
    work cannot be done.
    """
    console = console or Console()
    if resume is not None:
        if data or config:
            raise refusal("--resume", "alone, for it knows its data and config", str(data or config))
        with speaking(Run.open(Path(resume)).config.doctor.language):
            return _resume(Path(resume), settings, console)
    base = load_yaml(config) if config else Config()
    wanted = with_values(base, ({"data.path": str(data)} if data else {}) | settings)
    _check_folds(wanted)
    with speaking(wanted.doctor.language):
        if wanted.data.folds and wanted.data.fold is None:
            return train_folds(wanted, console, train_one, _resume)
        return train_one(wanted, console)


def _check_folds(config: Config) -> None:
    """Settings that only say something together, or not together."""
    data = config.data
    if data.refit and not data.folds:
        raise refusal("--refit", "left out without --folds", data.refit)
    if data.fold is not None and not data.folds:
        raise refusal("data.fold", "left out without --folds", data.fold)
    if data.folds and isinstance(data.val, int | float):
        raise refusal("--val", "left out with --folds, whose every part validates once", data.val)


def train_one(config: Config, console: Console, out: str | None = None) -> LoadedRun:
    """One training, from reading the data to the report."""
    began = time.perf_counter()
    run = Run.create(out or config.out)  # first, for a folder that cannot be written should not be found out last
    try:
        prepared = prepare(replace(config, out=None))
        reading = time.perf_counter() - began
        run.write_text("config.yaml", dump_yaml(prepared.config))
        run.write_json("environment.json", environment(prepared.device))
        print_choices(console, prepared, run)
        if prepared.transfer is not None:  # the run must be able to go on when its source is gone
            start = prepared.transfer.source
            save_tensors(run.weights("start"), start.state, start.signature)
        return _carry_out(run, prepared, console, reading, resume=False)
    except (Refusal, OSError):
        run.withdraw()
        raise
    finally:
        run.unlock()


def _resume(folder: Path, settings: dict[str, Any], console: Console) -> LoadedRun:
    began = time.perf_counter()
    run = Run.open(folder)
    run.lock()
    try:
        config = with_values(run.config, settings)
        for key, value in _differences(run.config, config).items():
            if key not in RESUMABLE:
                allowed = ", ".join(name.removeprefix("data.") for name in RESUMABLE)
                raise refusal(
                    key, "left out with --resume, which keeps the run's", value, do=f"only {allowed} may change"
                )
        over_folds = bool(run.summary.get("folds"))
        # With `refit: all` the last thing that a run over folds does is to forget them in its config.
        concluded = over_folds and not (config.data.folds and config.data.refit in (None, "all"))
        if config.data.folds and config.data.fold is None and not concluded:
            return train_folds(config, console, train_one, _resume, run)
        if over_folds and config.epochs != run.config.epochs:
            raise refusal("--epochs", "left out for a finished run over folds", config.epochs)
        trained = run.summary.get("epochs", 0)
        if (config.epochs or 0) < trained:
            raise refusal("--epochs", f"at least {trained}, which the run has behind it", config.epochs)
        stopped = run.summary.get("stopped") or ""
        # Fewer epochs than its config says, and no reason: it was killed when it had just been resumed for more.
        ended = over_folds or trained == config.epochs or (stopped and not stopped.startswith(INTERRUPTED))
        if run.summary and ended and config.epochs == run.config.epochs:
            said = f"{run.name} has finished already; its report is {run.report}"
            console.print(said, highlight=False, markup=False, soft_wrap=True)
            return load(run)
        return _carry_out(run, prepare(config, run.weights("start")), console, time.perf_counter() - began, resume=True)
    finally:
        run.unlock()


def _differences(old: Config, new: Config) -> dict[str, Any]:
    from danlu.config import get, keys

    return {key: get(new, key) for key in keys() if get(old, key) != get(new, key)}


def _carry_out(run: Run, prepared: Prepared, console: Console, reading: float, resume: bool) -> LoadedRun:
    """Fit, evaluate with the best weights, summarise, write the page."""
    config = prepared.config
    began = time.perf_counter()
    stop = StopSignal()
    with stop.listening():
        fabric = make_fabric(prepared.device, config.devices, config.precision or "fp32")
        if config.devices > 1:
            each = partial(_fit_in_process, config)  # Fabric takes no frozen dataclass as an argument
            progress = launch(fabric, stop, each, str(run.folder), console.quiet, resume)
        else:
            fabric.launch()
            progress = _fit(fabric, run, prepared, console, stop, resume)
    interrupted = (progress.stopped or "").startswith(INTERRUPTED)
    validated = None if interrupted else settle(run, prepared, progress)
    timings = {"data": reading, "training": time.perf_counter() - began}
    conclude(run, prepared, progress, timings, console, measured=not interrupted, validated=validated)
    if interrupted:
        raise Interrupted(f"{progress.stopped}; go on with `danlu train --resume {run.name}`", 128 + stop.number)
    return load(run)


def _fit_in_process(
    config: Config, fabric: Fabric, stop: StopSignal, folder: str, quiet: bool, resume: bool
) -> Progress:
    """What each of several processes does: read the data itself, train its share of every batch."""
    run = Run.open(folder)
    console = Console(stderr=True, quiet=quiet or fabric.global_rank > 0)
    with speaking(config.doctor.language):
        return _fit(fabric, run, prepare(config, run.weights("start")), console, stop, resume)


def _fit(fabric: Fabric, run: Run, prepared: Prepared, console: Console, stop: StopSignal, resume: bool) -> Progress:
    plan = make_plan(prepared, fabric)
    saver = Saver(run, prepared.signature, prepared.fingerprint, prepared.config.save_every)
    # A run that was killed before its first checkpoint begins again.
    progress = (
        saver.restore(plan, read_state(run.state))
        if resume and (run.state.exists() or run.summary.get("epochs"))
        else Progress()
    )
    display = Display(console, run.log)
    record, watchers = Record(), list[Watcher]()
    if fabric.global_rank == 0:
        if resume:  # now that nothing can be refused any more
            run.write_text("config.yaml", dump_yaml(prepared.config))
        record, watchers = Record.read(run.folder / "metrics.jsonl"), [display, saver]
        record.cut(progress.rows)
    alone = fabric.world_size == 1
    agreement = Agreement(stop, saver)
    if not alone:
        watchers.append(agreement)
    with display, ExitStack() as stack:
        if fabric.global_rank == 0 and prepared.config.doctor.budget:
            config = prepared.config
            cured = cures(config, len(prepared.split.train), config.doctor.language)
            examiner = Examiner(plan, config, run, display.say, cured)
            if prepared.objects is not None:
                tell_of_objects(examiner.doctor.ledger, prepared, network(prepared.signature))
            if prepared.config.loss.class_weights is not None and prepared.class_counts is not None:
                weights = class_weights(prepared.config.loss.class_weights, prepared.class_counts)
                examiner.doctor.ledger.add("loss.class_weights", weights.tolist())
            watchers.insert(0, stack.enter_context(examiner))
        fit(plan, progress, record, watchers, stop if alone else agreement)
    if alone and (progress.stopped or "").startswith(INTERRUPTED):
        saver.save(plan, progress)
    return progress

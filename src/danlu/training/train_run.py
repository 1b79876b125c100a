"""Train one run from start to report; start a new run or continue an interrupted one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rich.console import Console

from danlu.advice.earlier import remember_earlier
from danlu.config import Config, dump_yaml, get, keys, with_values
from danlu.engine.checkpoint import save_tensors
from danlu.engine.device import make_fabric
from danlu.engine.loop import Watcher, fit
from danlu.engine.processes import launch
from danlu.engine.saving import INTERRUPTED, Interrupted, StopSignal
from danlu.inference.load import load, opened
from danlu.inference.loaded_run import LoadedRun
from danlu.message import Message, environment_language, message, speaking, translated
from danlu.preparation.choices import Choice
from danlu.preparation.prepare import prepare
from danlu.preparation.prepared import Prepared
from danlu.printing.lines import print_and_log, print_line
from danlu.printing.machine_notes import machine_notes
from danlu.printing.results import print_choices
from danlu.refuse import Failure, Refusal, refusal
from danlu.run.bug_report import note_run
from danlu.run.folder import Run
from danlu.run.stage import RunStage
from danlu.task_spec import TASKS
from danlu.training.calibrate import calibrate
from danlu.training.choose_thresholds import choose_thresholds
from danlu.training.conditions import RESUMABLE
from danlu.training.environment import describe_environment
from danlu.training.finish import complete_run, finish_run
from danlu.training.fit_closed_form import fit_closed_form
from danlu.training.fitting import fit_worker, ready_to_fit
from danlu.training.keep_features import keep_features
from danlu.training.keep_start import keep_start
from danlu.training.live_page import follow
from danlu.training.validate_poses import validate_poses
from danlu.user_objects import current, resume_command


@dataclass(frozen=True)
class Guidance:
    """Differences between a training that belongs to a search and one on its own.

    watchers: notified besides those of every training, in a training of one process. use_test: evaluate the best
    weights on the test set. report: evaluate them at all and write the report. remember: write earlier.json, which
    the advice of a run reads.
    """

    watchers: tuple[Watcher, ...] = ()
    use_test: bool = True
    report: bool = True
    remember: bool = True


ALONE = Guidance()


@dataclass(frozen=True)
class FromFolds:
    """Means over the folds of a cross-validation, which a training on all their samples cannot choose itself.

    thresholds: smallest probability of each label, empty for other tasks. temperature: of a classifier.
    """

    thresholds: tuple[float, ...] = ()
    temperature: float = 1.0


NO_FOLDS = FromFolds()
NO_REASON = Message("", "")  # of a choice whose file was damaged


@dataclass(frozen=True)
class TrainingJob:
    """A locked run folder with its data, ready to be trained.

    seconds: spent on preparing it. from_folds: for a training without a validation set.
    """

    run: Run
    prepared: Prepared
    seconds: float
    resume: bool
    from_folds: FromFolds = NO_FOLDS
    guidance: Guidance = ALONE


def new_job(config: Config, console: Console, out: str | None = None, guidance: Guidance = ALONE) -> TrainingJob:
    """Create a run folder and prepare its training; the folder goes again if that fails."""
    run = Run.create(out or config.out)  # first: a folder that cannot be written must be refused at once
    try:
        config = replace(config, out=None)
        run.write_text("config.yaml", dump_yaml(config))  # a run that is killed from here on can be resumed
        follow(run)
        return _prepare_job(run, config, console, guidance)
    except BaseException:
        run.withdraw()
        run.unlock()
        raise


def _prepare_job(run: Run, config: Config, console: Console, guidance: Guidance = ALONE) -> TrainingJob:
    """Read the data and choose the open settings; print and write the choices."""
    began = time.perf_counter()
    prepared = prepare(config)
    seconds = time.perf_counter() - began
    print_choices(console, prepared, run)
    for note in machine_notes(prepared):
        print_and_log(console, run, str(note))
    if prepared.transfer is not None:  # a copy, because the source may be deleted before the run is resumed
        start = prepared.transfer.source
        save_tensors(run.weights("start"), start.state, start.signature)
    run.write_json("environment.json", describe_environment(prepared.device))
    run.write_json("choices.json", {"choices": [vars(choice) for choice in prepared.choices]})
    if guidance.remember:
        remember_earlier(run, prepared.config)
    run.write_text("config.yaml", dump_yaml(prepared.config))  # last: nothing above is written again after it
    return TrainingJob(run, prepared, seconds, resume=False, guidance=guidance)


def train_run(job: TrainingJob, console: Console) -> LoadedRun:
    """Fit, evaluate the best weights, write summary and report. Raises Interrupted when a signal stopped it."""
    run, prepared, config = job.run, job.prepared, job.prepared.config
    began = time.perf_counter()
    stop = StopSignal()
    try:
        with stop.installed():
            fabric = make_fabric(prepared.device, config.devices, config.precision)
            if config.devices > 1:
                worker = partial(fit_worker, config, current())  # Fabric takes no frozen dataclass as an argument
                progress = launch(fabric, stop, worker, str(run.folder), console.quiet, job.resume)
            else:
                fabric.launch()
                watchers = job.guidance.watchers
                with ready_to_fit(
                    fabric, run, prepared, console, stop, resume=job.resume, more_watchers=watchers
                ) as fitting:
                    fit(*fitting)
                progress = fitting.progress
        interrupted = (progress.stopped or "").startswith(INTERRUPTED)
        val_metrics = calibration = start_metrics = None
        if not interrupted:
            start_metrics = keep_start(run, prepared, progress)
            val_metrics = (
                start_metrics
                or fit_closed_form(run, prepared, progress)
                or choose_thresholds(run, prepared, progress, job.from_folds.thresholds)
            )
            if job.guidance.report:  # trials of a search are compared, not used
                if job.guidance.use_test and len(prepared.split.test):  # else the summary measures the validation set
                    val_metrics = val_metrics or validate_poses(run, prepared)
                kept = start_metrics is not None
                calibration = calibrate(run, prepared, progress, job.from_folds.temperature, kept_start=kept)
                keep_features(run, prepared)
        timings = {"data": job.seconds, "training": progress.earlier + time.perf_counter() - began}
        finish_run(
            run,
            prepared,
            progress,
            timings,
            console,
            evaluate=not interrupted,
            use_test=job.guidance.use_test,
            report=job.guidance.report,
            val_metrics=val_metrics,
            calibration=calibration,
            kept_start=True if start_metrics else None,
        )
        if interrupted:
            verb = TASKS[config.task].verb
            raise Interrupted(str(progress.stopped), 128 + stop.number, resume_command(verb, run.name))
        return load(run)
    except Failure:  # what was measured so far explains it
        raise
    except Exception as error:
        if not job.resume:
            run.withdraw()  # keeps a run that has trained an epoch
        note_run(error, run.folder)
        raise
    finally:
        run.unlock()


def resumed_config(run: Run, settings: Mapping[str, Any]) -> Config:
    """Config of a run with changed settings. Raises Refusal for settings other than RESUMABLE."""
    before = run.config  # read once: it is a file
    config = with_values(before, settings)
    for key in keys():
        if key not in RESUMABLE and get(before, key) != get(config, key):
            allowed = ", ".join(name.removeprefix("data.") for name in RESUMABLE)
            raise refusal(
                key,
                message("training.wanted.omitted_resume_keeps_run", "omitted with --resume, which keeps the run's"),
                get(config, key),
                do=message("training.do.only_may_change", "only {allowed} may change", allowed=allowed),
            )
    return config


def resume_run(
    run: Run, config: Config, console: Console, from_folds: FromFolds = NO_FOLDS, guidance: Guidance = ALONE
) -> LoadedRun:
    """Continue a locked run from its last checkpoint; a finished run is returned as it is, unless `epochs` has grown.

    config: see `resumed_config`. from_folds, guidance: see `TrainingJob`.
    """
    summary = run.summary
    if run.stage is RunStage.ASKED:  # killed while it read its data
        job = _prepare_job(run, config, console, guidance)
        return train_run(replace(job, from_folds=from_folds), console)
    if summary.folds and config.epochs != run.config.epochs:
        raise refusal(
            "--epochs",
            message("training.wanted.omitted_finished_run_over", "omitted for a finished run over folds"),
            config.epochs,
        )
    if (config.epochs or 0) < summary.epochs:
        raise refusal(
            "--epochs",
            message(
                "training.wanted.least_epochs_run_trained",
                "at least {epochs}, the epochs that the run has trained",
                epochs=summary.epochs,
            ),
            config.epochs,
        )
    if summary and _is_finished(run) and config.epochs == run.config.epochs:
        if run.stage is RunStage.MEASURED:  # killed while it wrote its report
            complete_run(run, summary, console, keep_state=config.keep_state, report=guidance.report)
            return load(run)
        text = "{run} has finished already; its report is {report}"
        with speaking(_language_of_answer(run, config)):
            print_line(console, translated("training.finished_already", text, run=run.name, report=run.report))
        return opened(run)
    if summary and _is_finished(run) and not run.state.exists():
        raise Refusal(
            message(
                "training.refuse.resume_finished_run_trained",
                "--resume {name}: the finished run was trained without --keep-state, so that it cannot "
                "be trained for more epochs; start a new run from its weights with --init {name}",
                name=run.name,
            )
        )
    began = time.perf_counter()
    prepared = prepare(config, run.weights("start"))
    prepared = replace(prepared, choices=_kept_choices(run, config))
    seconds = time.perf_counter() - began
    job = TrainingJob(run, prepared, seconds, resume=True, from_folds=from_folds, guidance=guidance)
    return train_run(job, console)


def _language_of_answer(run: Run, config: Config) -> str:
    """Language of a line that no run keeps: that of `--lang`, else of DANLU_LANG or the locale, else the run's."""
    if config.doctor.language != run.config.doctor.language:
        return config.doctor.language
    return environment_language() or config.doctor.language


def _kept_choices(run: Run, config: Config) -> tuple[Choice, ...]:
    """Settings chosen when the run began, with their reasons; () for runs of earlier versions.

    config: with the settings changed since, whose choices are left out.
    """
    kept = run.read_json("choices.json", default={}).get("choices")
    entries = [one for one in kept if isinstance(one, dict)] if isinstance(kept, list) else []
    choices = [Choice(str(one.get("key")), one.get("value"), one.get("reason") or NO_REASON) for one in entries]
    return tuple(one for one in choices if one.key not in RESUMABLE or one.value == get(config, one.key))


def _is_finished(run: Run) -> bool:
    """Return whether a run with a summary needs no more training.

    Fewer epochs than configured without a reason mean that the run was killed just after it was resumed for more.
    """
    summary = run.summary
    stopped = summary.stopped or ""
    ended_early = bool(stopped) and not stopped.startswith(INTERRUPTED)
    return bool(summary.folds) or summary.epochs == run.config.epochs or ended_early

"""Last stage of a run: evaluate the kept weights once, write summary, findings and report."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rich.console import Console

from danlu.engine.checkpoint import previous_state
from danlu.engine.loop import Progress
from danlu.inference.load import load
from danlu.inference.measure import measure
from danlu.message import translated
from danlu.preparation.prepared import Prepared
from danlu.printing.results import print_end, print_result
from danlu.progress.stages import stage
from danlu.report.run_report import write_page
from danlu.run.folder import Run
from danlu.run.summary import Calibration, Metrics, Summary
from danlu.training.calibrate import with_split
from danlu.training.summarise import summarise


def finish_run(
    run: Run,
    prepared: Prepared,
    progress: Progress,
    timings: Mapping[str, float],
    console: Console,
    *,
    evaluate: bool = True,
    use_test: bool = True,
    report: bool = True,
    val_metrics: Mapping[str, float] | None = None,
    calibration: Calibration | None = None,
    kept_start: bool | None = None,
    **fields: Any,
) -> Summary:
    """Evaluate the best weights and write the summary, the findings and the report.

    The test set is used here and nowhere else in a training; without a test set, the validation set is evaluated.
    timings: seconds of the earlier stages. evaluate: False for an interrupted run. use_test: False to leave the test
    set untouched and evaluate the validation set. report: False for no evaluation and no report. val_metrics: metrics
    of the validation set, where the best weights have changed since their epoch. calibration: of the best weights; its
    error after scaling replaces that of their epoch. kept_start: the best weights are those before the first epoch,
    which were not measured on the training set. fields: further fields of the summary.
    """
    began = time.perf_counter()
    measured = None
    split = "test" if use_test and len(prepared.split.test) else "val"
    if evaluate and report and len(getattr(prepared.split, split)):
        measured = measure(load(run).network, prepared, split)
    timings = {**timings, "evaluation": time.perf_counter() - began}
    earlier_looks = run.summary.test_looks  # of a finished run that was resumed for more epochs
    summary = summarise(run, prepared, progress, measured, timings)
    metrics = summary.metrics
    if val_metrics:
        metrics = replace(metrics, val=Metrics.from_json(val_metrics))
    if kept_start:
        metrics = replace(metrics, train=Metrics())
    if calibration is not None:
        if "val" in calibration.after:
            metrics = replace(metrics, val=replace(metrics.val, ece=calibration.after["val"]))
        if measured is not None and measured.split not in calibration.after:
            calibration = with_split(calibration, measured)
        fields["calibration"] = calibration
    summary = replace(
        summary, metrics=metrics, kept_start=kept_start, test_looks=summary.test_looks + earlier_looks, **fields
    )
    write_results(run, summary)
    complete_run(run, summary, console, finished=evaluate, keep_state=prepared.config.keep_state, report=report)
    return summary


def remove_checkpoints(run: Run, keep_state: bool) -> None:
    """Remove the checkpoints of a finished training; the last one stays on request, to train for more epochs."""
    previous_state(run.state).unlink(missing_ok=True)
    if not keep_state:
        run.state.unlink(missing_ok=True)


def write_results(run: Run, summary: Summary) -> None:
    """Write findings.json, then summary.json, from which on a run counts as measured."""
    run.write_json("findings.json", summary.findings)
    run.write_json("summary.json", summary)


def complete_run(
    run: Run,
    summary: Summary,
    console: Console,
    *,
    finished: bool = True,
    keep_state: bool = False,
    report: bool = True,
) -> None:
    """Print and log the results of a measured run and, unless `report` is False, write its report, which is its end.

    finished: whether the training is over, so that its checkpoints go before the report is written.
    """
    if finished:
        remove_checkpoints(run, keep_state)
    print_result(console, run, summary)
    if report:
        with stage(translated("stage.report", "writing the report")):
            write_page(run.folder)
    print_end(console, run, summary)

"""The end of a run: the kept weights on the test split, once, then summary, findings and report."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console

from danlu.engine.loop import Progress
from danlu.inference.measure import measure
from danlu.inference.trained_run import open_trained
from danlu.preparation.prepared import Prepared
from danlu.printing.results import print_result
from danlu.report.page import write_page
from danlu.run.folder import Run
from danlu.training.summary import summarise


def conclude(
    run: Run,
    prepared: Prepared,
    progress: Progress,
    timings: dict[str, float],
    console: Console,
    *,
    measured: bool = True,
    validated: dict[str, float] | None = None,
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Evaluate (unless `measured` is False: an interrupted run) and write everything. Gives the summary.

    The test split is looked at here and nowhere else in a training; without one, the validation split is shown.
    validated: metrics of the validation split where the best weights are no longer what their epoch made them.
    """
    began = time.perf_counter()
    final = None
    part = "test" if len(prepared.split.test) else "val"
    if measured and len(getattr(prepared.split, part)):
        final = {"split": part} | measure(open_trained(run), prepared, part)
    timings = timings | {"evaluation": time.perf_counter() - began}
    looked = run.summary.get("test_looks", 0)  # a finished run that was resumed for more epochs
    summary = summarise(run, prepared, progress, final, timings) | (extra or {})
    summary["metrics"]["val"] = validated or summary["metrics"]["val"]
    summary["test_looks"] += looked
    write_summary(run, summary, console)
    return summary


def write_summary(run: Run, summary: dict[str, Any], console: Console) -> None:
    run.write_json("findings.json", summary["findings"])
    run.write_json("summary.json", summary)
    write_page(run.folder)
    print_result(console, run, summary)

"""Page of one evaluation: metrics, confusion matrix, classes, reliability and mistakes, as in the report of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from danlu.inference.evaluation_result import EvaluationResult
from danlu.refuse import blame
from danlu.report.page_sections import Content
from danlu.report.run_report import render


def write_evaluation_page(result: EvaluationResult, details: Mapping[str, Any], classes: list[str], page: Path) -> Path:
    """Write the page of an evaluation.

    Args:
        result: The evaluation.
        details: `Task.details` of its outputs.
        classes: Names of the classes; empty for a regression.
        page: File to write.

    Raises:
        Refusal: The page cannot be written.
    """
    summary = {
        "run": result.run,
        "task": result.task,
        "model": result.model,
        "metrics": result.metrics.to_json(),
        "evaluation": {"split": result.part} | dict(details),
        "trained_on": result.trained_on,
        "data": {"path": result.data, "counts": {result.part: result.samples}, "classes": classes},
    }
    try:
        page.write_text(render(Content(summary)), encoding="utf-8")
    except OSError as error:
        raise blame(error, f"--out {page}") from None
    return page

"""Report of a run: one self-contained HTML file, written from the files of the run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.config import Config
from danlu.doctor.ledger import Ledger
from danlu.message import message, speaking
from danlu.report.document import sectioned
from danlu.report.markup import Figures
from danlu.report.page_head import head
from danlu.report.page_sections import SECTIONS, Content
from danlu.run.folder import Run
from danlu.run.names import FEATURES_FILE, SPLIT_TITLES


def write_page(run_folder: Path, lang: str | None = None, findings: Sequence[Mapping[str, Any]] | None = None) -> Path:
    """Write `run_folder`/report.html and return its path.

    Reads summary.json, metrics.jsonl, config.yaml, environment.json, findings.json, the doctor's ledger, heal.json and
    features.json.
    The section of a missing file is left out (an interrupted run has no summary).

    Args:
        run_folder: Folder of the run.
        lang: "en" or "zh"; by default the language of the run's configuration.
        findings: Findings to show instead of those in findings.json.

    Raises:
        Refusal: A file exists but cannot be read.
        Failure: The page cannot be written.
    """
    run = Run(Path(run_folder))
    config = run.config if (run.folder / "config.yaml").exists() else None
    summary = _completed(run.read_json("summary.json", default={}), run.record.rows, run.folder, config)
    environment, healing, features = (
        run.read_json(name, default={}) for name in ("environment.json", "heal.json", FEATURES_FILE)
    )
    with speaking(lang or (config.doctor.language if config else "en")):
        found = run.findings if findings is None else findings
        rows, ledger = run.record.rows, _ledger(run)
        page = render(Content(summary, rows, config, environment, found, healing, ledger, features))
    run.write_text(run.report.name, page)
    return run.report


def render(content: Content) -> str:
    """Render the page as HTML in the current language, leaving out sections without content."""
    figures: Figures = {}
    sections = [one.made(content, figures) for one in SECTIONS]
    name = str(content.summary.get("run") or "run")
    return sectioned(name, head(content.summary, name), sections, figures)


def _ledger(run: Run) -> Ledger:
    """Read the doctor's measurements; an empty ledger when the file is missing, or cut and without a checksum."""
    if not run.ledger.exists():
        return Ledger()
    path = run.checked(run.ledger)
    try:
        return Ledger.read(path)
    except ValueError:
        return Ledger()


def _completed(
    summary: dict[str, Any], rows: Sequence[Mapping[str, Any]], folder: Path, config: Config | None
) -> dict[str, Any]:
    """Complete the summary of an unfinished run: name, task, model and the metrics of its last epoch."""
    out = {"run": str(folder)} | summary
    if config is not None:
        out = {"task": config.task, "model": config.model.name} | out
        out.setdefault("data", {"path": config.data.path} if config.data.path else {})
    epochs = [row for row in rows if row.get("kind") == "epoch"]
    if not summary:
        out["stopped"] = message("stop.unfinished", "not finished")
    if epochs and not out.get("metrics"):
        last = epochs[-1]
        found = {s: {k.split(".", 1)[1]: v for k, v in last.items() if k.startswith(f"{s}.")} for s in SPLIT_TITLES}
        out["metrics"] = {split: values for split, values in found.items() if values}
        out.setdefault("epochs", last.get("epoch"))
        out["seconds"] = out.get("seconds", last.get("seconds"))
    return out

"""Lines on where a training stands when it is resumed."""

from __future__ import annotations

from danlu.doctor.diagnose import shown
from danlu.doctor.finding import in_one_line
from danlu.engine.loop import Plan, Progress
from danlu.message import translated
from danlu.preparation.prepared import Prepared
from danlu.printing.results import data_line
from danlu.progress.stages import duration
from danlu.run.folder import Run


def resumed_lines(run: Run, prepared: Prepared, plan: Plan, progress: Progress) -> list[str]:
    """The data, the epochs done with their time, the best one, and the errors and warnings found so far."""
    text = "resuming {run} after {done} of {epochs} epochs: {steps} steps in {time}"
    facts = {"run": run.name, "done": progress.epoch, "epochs": plan.epochs, "steps": f"{progress.step:,}"}
    lines = [
        data_line(prepared),
        translated("printing.resumed", text, **facts, time=duration(progress.earlier)),
    ]
    if progress.best is not None:
        lines.append(translated("printing.best_so_far", "best epoch so far: {epoch}", epoch=progress.best_epoch))
    serious = [one for one in shown(run.findings)[0] if one["severity"] != "note"]
    return lines + [in_one_line(one, run.config.doctor.language) for one in serious]

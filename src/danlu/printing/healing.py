"""What `danlu doctor RUN --heal` prints for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from danlu.message import speaking, translated
from danlu.printing.tables import plain_table
from danlu.report.healing import difference
from danlu.report.markup import clip, metric_value
from danlu.run.names import metric_key


def print_healing(console: Console, found: Mapping[str, Any], language: str = "en") -> None:
    """The table of attempts, what no setting can cure, and the command that repeats the healed training."""
    with speaking(language):
        _print(console, found)


def _print(console: Console, found: Mapping[str, Any]) -> None:
    def tell(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    metric = metric_key(found["metric"])
    if found["attempts"]:
        figures = [
            translated("printing.before", "before"),
            translated("printing.after", "after"),
            translated("healing.column.difference", "difference +- noise"),
            translated("printing.kept", "kept"),
        ]
        table = plain_table(
            (translated("healing.column.finding", "finding"), translated("healing.column.change", "change"), *figures),
            whole=figures,
        )
        for one in found["attempts"]:
            before, after = (metric_value(one["metric"], one[key]) for key in ("before", "after"))
            told = difference(one).replace("±", "+-")
            kept = translated("printing.yes", "yes") if one["kept"] else translated("printing.no", "no")
            table.add_row(one["finding"], clip(one["flags"], 90), before, after, told, kept)
        console.print(table)
        tell(
            translated(
                "healing.measured", "{metric} on validation; trials: {trials}", metric=metric, trials=found["trials"]
            )
        )
    for one in found["not_tried"]:
        tell(translated("healing.not_tried", "not tried: {finding}: {why}", finding=one["finding"], why=one["why"]))
    if found["stopped"]:
        tell(translated("printing.stopped", "stopped: {reason}", reason=found["stopped"]))
    if found["command"]:
        before, after = (f"{found[key] or 0:.4f}" for key in ("before", "after"))
        tell(
            translated(
                "healing.healed",
                "healed: {metric} {before} -> {after} in the trials; full training:",
                metric=metric,
                before=before,
                after=after,
            )
        )
        tell(f"  {found['command']}")
    else:
        tried = (
            translated("healing.no_gain", "no change was better than the noise")
            if found["attempts"]
            else translated("healing.nothing", "there was nothing to try")
        )
        tell(translated("healing.unchanged", "the run is left as it is: {why}", why=tried))

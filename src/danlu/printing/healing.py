"""Terminal output of `danlu doctor RUN --heal`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from danlu.message import speaking, translated
from danlu.printing.lines import print_line
from danlu.printing.tables import plain_table
from danlu.report.healing import difference
from danlu.report.markup import clip, metric_value
from danlu.run.names import metric_key


def print_healing(console: Console, found: Mapping[str, Any], language: str = "en") -> None:
    """Print the table of attempts, the findings without a fix to try, and the command of the full training."""
    with speaking(language):
        _print(console, found)


def _print(console: Console, found: Mapping[str, Any]) -> None:
    metric = metric_key(found["metric"])
    if found["attempts"]:
        values = [
            translated("printing.before", "before"),
            translated("printing.after", "after"),
            translated("healing.column.difference", "difference +- noise"),
            translated("printing.kept", "kept"),
        ]
        finding = translated("healing.column.finding", "finding")
        headings = (finding, translated("healing.column.change", "change"), *values)
        table = plain_table(headings, whole=(finding, *values))
        for one in found["attempts"]:
            before, after = (metric_value(one["metric"], one[key]) for key in ("before", "after"))
            change = difference(one).replace("±", "+-")
            kept = translated("printing.yes", "yes") if one["kept"] else translated("printing.no", "no")
            table.add_row(one["finding"], clip(one["flags"], 90), before, after, change, kept)
        console.print(table)
        print_line(
            console,
            translated(
                "healing.measured", "{metric} on validation; trials: {trials}", metric=metric, trials=found["trials"]
            ),
        )
    for one in found["not_tried"]:
        print_line(
            console,
            translated("healing.not_tried", "not tried: {finding}: {why}", finding=one["finding"], why=one["why"]),
        )
    if found["stopped"]:
        print_line(console, translated("printing.stopped", "stopped: {reason}", reason=found["stopped"]))
    if found["command"]:
        before, after = (f"{found[key] or 0:.4f}" for key in ("before", "after"))
        print_line(
            console,
            translated(
                "healing.healed",
                "healed: {metric} {before} -> {after} in the trials; full training:",
                metric=metric,
                before=before,
                after=after,
            ),
        )
        print_line(console, f"  {found['command']}")
    else:
        print_line(console, translated("healing.unchanged", "the run is unchanged: {why}", why=_why_unchanged(found)))


def _why_unchanged(found: Mapping[str, Any]) -> str:
    if found["attempts"]:
        return translated("healing.no_gain", "no change improved the metric by more than the noise")
    if found["stopped"]:
        return translated("healing.none_finished", "no change could be tried before that; --budget gives more time")
    return translated("healing.nothing", "there was no change to try")

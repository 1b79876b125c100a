"""What `danlu doctor RUN --heal` prints for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from danlu.report.healing import difference
from danlu.report.markup import clip, metric_value
from danlu.verbs.tables import plain_table


def print_healing(console: Console, found: dict[str, Any]) -> None:
    """The table of attempts, what no setting can cure, and the command that repeats the healed training."""

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    if found["attempts"]:
        figures = ("before", "after", "difference +- noise", "kept")
        table = plain_table(("finding", "change", *figures), whole=figures)
        for one in found["attempts"]:
            before, after = (metric_value(one["metric"], one[key]) for key in ("before", "after"))
            told = difference(one).replace("±", "+-")
            table.add_row(one["finding"], clip(one["flags"], 90), before, after, told, "yes" if one["kept"] else "no")
        console.print(table)
        say(f"{found['metric']} on validation; trials: {found['trials']}")
    for one in found["not_tried"]:
        say(f"not tried: {one['finding']}: {one['why']}")
    if found["stopped"]:
        say(f"stopped: {found['stopped']}")
    if found["command"]:
        say(
            f"healed: {found['metric']} {found['before'] or 0:.4f} -> {found['after'] or 0:.4f} in the trials; in full:"
        )
        say(f"  {found['command']}")
    else:
        tried = "no change was better than the noise" if found["attempts"] else "nothing was there to try"
        say(f"the run is left as it is: {tried}")

"""What `danlu doctor RUN --heal` prints for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from danlu.language import speaking
from danlu.printing.tables import plain_table
from danlu.printing.wording import say
from danlu.report.healing import difference
from danlu.report.markup import clip, metric_value
from danlu.report.retelling import retell


def print_healing(console: Console, found: dict[str, Any], language: str = "en") -> None:
    """The table of attempts, what no setting can cure, and the command that repeats the healed training."""
    with speaking(language):
        _print(console, found)


def _print(console: Console, found: dict[str, Any]) -> None:
    def tell(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    metric = say(found["metric"])
    if found["attempts"]:
        figures = [say(word) for word in ("before", "after", "difference +- noise", "kept")]
        table = plain_table((say("finding"), say("change"), *figures), whole=figures)
        for one in found["attempts"]:
            before, after = (metric_value(one["metric"], one[key]) for key in ("before", "after"))
            told = difference(one).replace("±", "+-")
            kept = say("yes") if one["kept"] else say("no")
            table.add_row(one["finding"], clip(one["flags"], 90), before, after, told, kept)
        console.print(table)
        tell(say("{} on validation; trials: {}", metric, retell(found["trials"])))
    for one in found["not_tried"]:
        tell(say("not tried: {}: {}", one["finding"], retell(one["why"])))
    if found["stopped"]:
        tell(say("stopped: {}", retell(found["stopped"])))
    if found["command"]:
        before, after = (f"{found[key] or 0:.4f}" for key in ("before", "after"))
        tell(say("healed: {} {} -> {} in the trials; in full:", metric, before, after))
        tell(f"  {found['command']}")
    else:
        tried = say("no change was better than the noise") if found["attempts"] else say("nothing was there to try")
        tell(say("the run is left as it is: {}", tried))

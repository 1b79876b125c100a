"""Terminal output of `danlu tune`."""

from __future__ import annotations

from rich.console import Console

from danlu.message import translated
from danlu.printing.lines import print_line
from danlu.printing.tables import plain_table
from danlu.report.markup import metric_value, words
from danlu.run.names import metric_key, split_key
from danlu.tuning.dimension import short_name
from danlu.tuning.result import TuningResult


def print_tuning(console: Console, found: TuningResult) -> None:
    """Print the best trials trained again, the verdict, the warnings and the command that repeats the winner."""
    if not found.finalists:
        return
    metric = metric_key(found.metric)
    numbers = [f"{split_key('val')} {metric}", "std", f"{split_key('test')} {metric}"]
    names = (translated("tuning.column.trial", "trial"), translated("tuning.column.settings", "settings"))
    table = plain_table((*names, *numbers), right=numbers, whole=numbers)
    for one in found.finalists:
        name = translated("tuning.page.own", "danlu's own") if one.own else str(one.trial)
        settings = ", ".join(f"{short_name(key)} {words(value)}" for key, value in one.settings.items())
        values = (one.mean, one.std, one.test_mean)
        table.add_row(name, settings, *(metric_value(found.metric, value) for value in values))
    console.print(table)
    print_line(console, str(found.verdict))
    for note in found.notes:
        print_line(console, translated("tuning.note", "note: {text}", text=note))
    facts = {"trained": found.epochs_trained, "full": found.epochs_full, "page": found.page}
    text = "{trained} of {full} epochs trained; report: {page}"
    print_line(console, translated("tuning.epochs", text, **facts))
    facts = {"seed": found.finalists[0].seeds[0], "metric": metric, "command": found.command}
    facts |= {"value": metric_value(found.metric, found.value), "test": metric_value(found.metric, found.test)}
    text = "repeat the winner exactly (seed {seed}: validation {metric} {value}, test {test}): {command}"
    print_line(console, translated("tuning.repeat", text, **facts))

"""Tables keep their headings and all values at any terminal width."""

import io

import pytest
from rich.console import Console

from danlu.analysis.inspect import inspect
from danlu.printing.healing import print_healing
from danlu.printing.results import print_inspection
from danlu.printing.tables import plain_table, print_in_parts, print_with_names


def printed(width: int, say) -> str:
    out = io.StringIO()
    say(Console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 100, 200])
def test_inspect_breaks_no_heading_and_no_cell(width):
    found = inspect("resnet18")
    said = printed(width, lambda console: print_inspection(console, found))
    table = said[: said.index("resnet18 on")].splitlines()
    assert max(map(len, table)) <= width
    for heading in ("layer", "kind", "detail", "output", "parameters", "multiply-adds", "activations", "sees", "jump"):
        assert any(heading in line.split() for line in table)
    for layer in found["layers"]:
        assert any(f"{layer['parameters']:,}" in line for line in table if line.startswith(layer["name"] + " "))


def test_a_wide_line_holds_one_table():
    said = printed(200, lambda console: print_in_parts(console, ["a", "b", "c"], [["1", "2", "3"]]))
    assert [line.split() for line in said.splitlines()] == [["a", "b", "c"], ["1", "2", "3"]]


def test_each_part_begins_with_the_first_column():
    rows = [["x" * 8, "y" * 8, "z" * 8]]
    said = printed(24, lambda console: print_in_parts(console, ["a", "b", "c"], rows))
    assert [line.split() for line in said.splitlines()] == [
        ["a", "b"],
        rows[0][:2],
        ["a", "c"],
        [rows[0][0], rows[0][2]],
    ]


def test_square_brackets_are_no_markup():
    assert "[bold]" in printed(40, lambda console: print_in_parts(console, ["a", "b"], [["[bold]", "1"]]))


def test_headings_stay_whole_where_cells_fold():
    table = plain_table(("finding", "change"))
    table.add_row("x" * 100, "y " * 100)
    assert printed(30, lambda console: console.print(table)).splitlines()[0].split() == ["finding", "change"]


def test_the_table_of_healing_at_80_columns():
    attempt = {"finding": "optim.learning_rate_too_low", "flags": "--optim.lr 0.01 --schedule.warmup 2", "kept": True}
    attempt |= {"metric": "accuracy", "before": 0.5, "after": 0.75, "difference": 0.25, "noise": 0.01, "why": "better"}
    attempt |= {"seconds": 1.0, "better": True}
    found = {"attempts": [attempt], "metric": "accuracy", "trials": "1", "not_tried": [], "stopped": "", "command": ""}
    said = printed(80, lambda console: print_healing(console, found))
    assert said.splitlines()[0].split() == ["finding", "change", "before", "after", "difference", "+-", "noise", "kept"]


@pytest.mark.parametrize(("stopped", "why"), [("the budget of 20 s is used up", "--budget"), ("", "no change to try")])
def test_healing_that_tried_nothing_says_why(stopped: str, why: str) -> None:
    found = {"attempts": [], "metric": "accuracy", "trials": "1", "not_tried": [], "stopped": stopped, "command": ""}
    said = printed(80, lambda console: print_healing(console, found))
    assert ("--budget" in said, "no change to try" in said) == (why == "--budget", why == "no change to try")


NAMES = ["folder/" + "long name " * 7 + ".png", "short.png"]


@pytest.mark.parametrize(("names", "terminal"), [(NAMES, True), (NAMES, False), (NAMES[1:], True)])
def test_names_are_never_broken(names: list[str], terminal: bool) -> None:
    """In a terminal they are on a line of their own where the table has no room; elsewhere lines are long."""
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=terminal, color_system=None)
    rows = [(name, "a class", "0.123", "another class 0.100, a third one 0.090") for name in names]
    print_with_names(console, ("path", "prediction", "confidence", "also"), rows)
    lines = out.getvalue().splitlines()
    for name in names:
        (line,) = [one for one in lines if name in one]
        together = len(names) == 1 or not terminal
        assert ("0.123" in line) == together
    assert console.width == 80

"""Terminal output of `danlu inspect --compare`: layers side by side, cost fractions, branched blocks, summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from danlu.inspection.dominance import FAMILY_NAMES, FIGURES
from danlu.inspection.drawing import short
from danlu.printing.lines import print_line


def print_comparison(console: Console, found: Mapping[str, Any]) -> None:
    """Print the result of `danlu.analysis.inspect.compare_networks`, in several tables if the console is narrow."""
    for table in _side_by_side(console, found["rows"], found["models"]):
        console.print(table)
    console.print(_fractions(found["shares"]))
    for name, rows in found["branched"].items():
        if rows:
            console.print(_branched(name, rows))
    for name, sentences in found["dominates"].items():
        for sentence in sentences:
            print_line(console, f"{name}: {sentence}")


def _side_by_side(console: Console, rows: list[dict[str, Any]], names: list[str]) -> list[Table]:
    """Tables of the layers, each with the number of networks that fits the width of the console."""
    tables, group = [], names[:1]
    unlimited = console.options.update(width=10_000)  # otherwise the measured width is clipped to the console
    for name in names[1:]:
        if console.measure(_layers(rows, [*group, name]), options=unlimited).maximum > console.width:
            tables.append(_layers(rows, group))
            group = []
        group = [*group, name]
    return [*tables, _layers(rows, group)]


def _layers(rows: list[dict[str, Any]], names: list[str]) -> Table:
    """Table of output shape, parameters and multiply-adds of all layers of these networks."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("", no_wrap=True)
    for name in names:
        table.add_column(name, no_wrap=True)
        table.add_column("weights", justify="right", no_wrap=True)
        table.add_column("mult-adds", justify="right", no_wrap=True)
    for row in rows:
        if not any(row[name] for name in names):
            continue
        cells = []
        for name in names:
            cell = row[name]
            shape = "x".join(map(str, cell.get("output", []))) if cell else ""
            cells += [shape, _count(cell["parameters"]), _count(cell["multiply_adds"])] if cell else ["", "", ""]
        table.add_row(row["row"], *cells)
    return table


def _fractions(fractions: dict[str, dict[str, dict[str, float]]]) -> Table:
    """Fraction of each cost per network and layer family."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("network", "layers"):
        table.add_column(heading)
    for heading in FIGURES.values():
        table.add_column(heading, justify="right")
    for name, families in fractions.items():
        for family, own in families.items():
            table.add_row(
                name,
                str(FAMILY_NAMES[family]),
                *(f"{100 * own[figure]:.1f} %" if own[figure] else "" for figure in FIGURES),
            )
    return table


def _branched(name: str, rows: list[dict[str, Any]]) -> Table:
    """Table of branched blocks with their cost (parameters/multiply-adds) and that of a single convolution."""
    kernels = list(rows[0]["instead"])
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(name, no_wrap=True)
    for heading in ("input", "output", "branches", *(f"or one {kernel}" for kernel in kernels)):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        shapes = ["x".join(map(str, row[key])) for key in ("input", "output")]
        costs = [row, *(row["instead"][kernel] for kernel in kernels)]
        table.add_row(row["name"], *shapes, *(_cost(cost) for cost in costs))
    return table


def _cost(cost: dict[str, Any]) -> str:
    return f"{_count(cost['parameters'])}/{_count(cost['multiply_adds'])}"


def _count(number: float) -> str:
    """Abbreviate a count: 105415200 -> "105M"."""
    return short(number).replace(" ", "")

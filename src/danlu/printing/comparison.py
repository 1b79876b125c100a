"""What `danlu inspect --compare` prints: layers side by side, shares, blocks of branches, what dominates."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from danlu.inspection.dominance import FIGURES
from danlu.inspection.drawing import short


def print_comparison(console: Console, found: dict[str, Any]) -> None:
    """found: of `danlu.analysis.inspect.compare_networks`. Networks beyond the width come further down."""
    for table in _side_by_side(console, found["rows"], found["models"]):
        console.print(table)
    console.print(_shares(found["shares"]))
    for name, rows in found["branched"].items():
        if rows:
            console.print(_branched(name, rows))
    for name, sentences in found["dominates"].items():
        for sentence in sentences:
            console.print(f"{name}: {sentence}", highlight=False, markup=False, soft_wrap=True)


def _side_by_side(console: Console, rows: list[dict[str, Any]], names: list[str]) -> list[Table]:
    """As many networks in a table as the console is wide enough for, the rest in further ones."""
    tables, group = [], names[:1]
    endless = console.options.update(width=10_000)  # of a narrow one a table says that it fits, cut
    for name in names[1:]:
        if console.measure(_layers(rows, [*group, name]), options=endless).maximum > console.width:
            tables.append(_layers(rows, group))
            group = []
        group = [*group, name]
    return [*tables, _layers(rows, group)]


def _layers(rows: list[dict[str, Any]], names: list[str]) -> Table:
    """Output, parameters and multiply-adds of each layer that one of these networks has."""
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


def _shares(shares: dict[str, dict[str, dict[str, float]]]) -> Table:
    """A line per network and family."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("share of", "layers"):
        table.add_column(heading)
    for heading in FIGURES.values():
        table.add_column(heading, justify="right")
    for name, families in shares.items():
        for family, own in families.items():
            table.add_row(name, family, *(f"{100 * own[figure]:.1f} %" if own[figure] else "" for figure in FIGURES))
    return table


def _branched(name: str, rows: list[dict[str, Any]]) -> Table:
    """Costs as the notes write them: parameters/multiply-adds."""
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
    """105415200 -> 105M"""
    return short(number).replace(" ", "")

"""What `danlu inspect --compare` prints below its layers: shares, blocks of branches, what dominates."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from danlu.inspection.dominance import FIGURES
from danlu.inspection.drawing import short


def print_shares(console: Console, found: dict[str, Any]) -> None:
    """found: of `danlu.verbs.inspect.compare_networks`."""
    console.print(_shares(found["shares"]))
    for name, rows in found["branched"].items():
        if rows:
            console.print(_branched(name, rows))
    for name, sentences in found["dominates"].items():
        for sentence in sentences:
            console.print(f"{name}: {sentence}", highlight=False, markup=False, soft_wrap=True)


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
    return f"{short(cost['parameters'])}/{short(cost['multiply_adds'])}".replace(" ", "")

"""What `danlu inspect --compare` prints for people: layers side by side, shares, and blocks of branches."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from danlu.inspection.dominance import FIGURES
from danlu.inspection.drawing import short


def print_comparison(console: Console, found: dict[str, Any]) -> None:
    """The tables of `danlu.verbs.inspect.compare`, and then its sentences."""
    networks = found["networks"]
    console.print(_layers(networks))
    console.print(_shares(networks))
    for network in networks:
        if network["branched"]:
            console.print(_branched(network))
    for sentence in found["says"]:
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)


def _table(title: str, first: str, rest: list[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", title=title, title_justify="left")
    table.add_column(first, overflow="fold")
    for heading in rest:
        table.add_column(heading, overflow="fold", justify="right")
    return table


def _layers(networks: list[dict[str, Any]]) -> Table:
    """Convolutions first, then dense layers, each by its number."""
    headings = [f"{n['model']} {what}" for n in networks for what in ("output", "parameters", "multiply-adds")]
    table = _table("layers that multiply", "layer", headings)
    places = dict.fromkeys(row["place"] for network in networks for row in network["weighted"])
    order = ["convolution", "attention", "dense", "other"]
    for place in sorted(places, key=lambda p: (order.index(p.split()[0]), int(p.split()[1]))):
        cells = []
        for network in networks:
            row = next((row for row in network["weighted"] if row["place"] == place), None)
            cells += _figures(row["output"], row) if row else ["", "", ""]
        table.add_row(place, *cells)
    totals = []
    for network in networks:
        totals += _figures(network["input"], network)
    table.add_row("whole network, from", *totals, style="bold")
    return table


def _figures(shape: list[int], row: dict[str, Any]) -> list[str]:
    return [" x ".join(map(str, shape)), short(row["parameters"]), short(row["multiply_adds"])]


def _shares(networks: list[dict[str, Any]]) -> Table:
    headings = [f"{network['model']} {word}" for network in networks for word in FIGURES.values()]
    table = _table("shares in per cent", "layers", headings)
    for name in dict.fromkeys(name for network in networks for name in network["shares"]):
        own = [network["shares"].get(name, {}).get(figure, 0.0) for network in networks for figure in FIGURES]
        table.add_row(name, *(f"{100 * share:.1f}" if share else "" for share in own))
    return table


def _branched(network: dict[str, Any]) -> Table:
    kernels = list(network["branched"][0]["instead"])
    headings = ["input", "output", *(f"{who} {what}" for who in ("own", *kernels) for what in ("par.", "mult."))]
    table = _table(f"{network['model']}: blocks of branches against one convolution instead", "block", headings)
    for row in network["branched"]:
        cells = [" x ".join(map(str, row[key])) for key in ("input", "output")]
        for cost in (row, *(row["instead"][k] for k in kernels)):
            cells += [short(cost["parameters"]), short(cost["multiply_adds"])]
        table.add_row(row["name"], *cells)
    return table

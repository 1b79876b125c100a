"""Shared style of the figures, and the command line of the scripts: `python experiments/NAME.py [--quick]`."""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # the backend must be selected first

IMAGES = Path(__file__).parent / "images"
INK, GREY, PALE = "#22262b", "#868c95", "#dfe3e8"
BLUE, ORANGE, GREEN, RED, PURPLE = "#2463a8", "#d9651c", "#2a8a5c", "#bf3434", "#7a4fa0"

plt.rcParams.update(
    {
        "figure.dpi": 150,
        "figure.facecolor": "white",
        "font.size": 10,
        "text.color": INK,
        "axes.edgecolor": GREY,
        "axes.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 9,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": PALE,
        "grid.linewidth": 0.7,
        "xtick.color": GREY,
        "ytick.color": GREY,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "lines.linewidth": 2,
        "lines.markersize": 5,
        "lines.solid_capstyle": "round",
    }
)


def panels(columns: int, rows: int = 1, *, width: float = 9.6, height: float = 3.9, **settings: Any):
    """Create a figure and its axes with constrained layout."""
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", squeeze=False, **settings)


def note(axis: Any, text: str, x: float, y: float, colour: str = INK, **settings: Any) -> None:
    """Write a label at (x, y) in data units, on a translucent white background."""
    ground = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.2}
    axis.text(x, y, text, color=colour, bbox=ground, **({"fontsize": 9} | settings))


def save(figure: Any, name: str, quick: bool) -> None:
    """Save images/NAME.png in 128 colours, which halves its size; a quick run draws it without saving."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    plt.close(figure)
    if not quick:
        IMAGES.mkdir(exist_ok=True)
        Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(
            IMAGES / f"{name}.png", optimize=True
        )


def contours(axis: Any, loss: Callable[[np.ndarray, np.ndarray], np.ndarray], levels: Any) -> None:
    """Draw pale contour lines of loss(x, y) within the current axis limits."""
    x, y = np.meshgrid(np.linspace(*axis.get_xlim(), 200), np.linspace(*axis.get_ylim(), 200))
    axis.contour(x, y, loss(x, y), levels, colors=GREY, linewidths=0.6, alpha=0.55)
    axis.grid(False)


def start(run: Callable[..., dict[str, Any]]) -> None:
    """Run a script from the command line and print its figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--quick", action="store_true", help="a small version in a second or two, without saving a figure"
    )
    began = time.perf_counter()
    figures = run(**vars(parser.parse_args()))
    for name, value in figures.items():
        print(f"{name}: {_plain(value)}")
    print(f"({time.perf_counter() - began:.0f} s)")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)

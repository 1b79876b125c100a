"""timm's train.py: summary.csv with train_loss, eval_loss and eval_top1 by epoch."""

from __future__ import annotations

from pathlib import Path

from danlu.doctor.curves.log import Curves, Reader, curves_of_rows
from danlu.doctor.curves.tables import header, rows


def look(path: Path) -> str | None:
    """Evidence of summary.csv: columns epoch, train_loss and eval_loss."""
    names = header(path)
    return "columns epoch, train_loss and eval_loss" if {"epoch", "train_loss", "eval_loss"} <= set(names) else None


def read(path: Path) -> tuple[str, Curves]:
    """Curves by epoch of all columns."""
    return "epoch", curves_of_rows(rows(path), "epoch")


READER = Reader("timm", "summary.csv of train.py", look, read, order=10)

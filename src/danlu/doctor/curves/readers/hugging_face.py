"""Hugging Face Trainer: trainer_state.json, whose log_history holds records of losses and evaluations by step."""

from __future__ import annotations

from pathlib import Path

from danlu.doctor.curves.log import Curves, Reader, curves_of_rows
from danlu.doctor.curves.tables import json_of

NO_CURVES = ("epoch", "total_flos", "num_input_tokens_seen", "train_loss")  # train_loss is the mean of the run


def look(path: Path) -> str | None:
    """Evidence of a trainer state: the list log_history."""
    found = json_of(path)
    known = isinstance(found, dict) and isinstance(found.get("log_history"), list)
    return "key log_history" if known else None


def read(path: Path) -> tuple[str, Curves]:
    """Curves by training step of all records of log_history."""
    records = [one for one in json_of(path)["log_history"] if isinstance(one, dict)]
    return "step", curves_of_rows(records, "step", NO_CURVES)


READER = Reader("Hugging Face Trainer", "trainer_state.json", look, read, order=10)

"""Predictions of a network on table rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from danlu.data.columns import ColumnEncoder
from danlu.data.sources.arrays.csv import read_rows
from danlu.inference.input_images import siblings
from danlu.inference.predict_images import member_output, to_prediction
from danlu.inference.prediction import Prediction
from danlu.inference.trained_network import TrainedNetwork
from danlu.message import message
from danlu.refuse import refusal

if TYPE_CHECKING:
    import pandas


def predict_rows(trained: TrainedNetwork, device: torch.device, inputs: Iterable[Any]) -> list[Prediction]:
    """Predict every row of csv files, DataFrames and arrays (N, D) or (D,), in order.

    Target columns are ignored where a table has them. Raises Refusal for a missing file or a wrong number of columns.
    """
    signature = trained.signature
    names = [column.name for column in ColumnEncoder.from_dict(signature.columns or {}).columns]
    members = [(own, model, ColumnEncoder.from_dict(own.columns or {})) for own, model in trained.members_on(device)]
    predictions: list[Prediction] = []
    for one in inputs:
        name, frame = _frame(one, names)
        frame = frame.drop(columns=[c for c in signature.target_names if c in frame.columns])
        each = [member_output(own, model, encoder.transform(frame, name).to(device)) for own, model, encoder in members]
        outputs = torch.stack(each).mean(0)
        predictions += [to_prediction(f"{name} {i}", signature, output) for i, output in enumerate(outputs, 1)]
    return predictions


def _frame(one: Any, columns: Sequence[str]) -> tuple[str, pandas.DataFrame]:
    """Name and rows of one input."""
    import pandas

    if isinstance(one, str | Path):
        if not Path(one).is_file():
            raise refusal(
                "PATH",
                message("inference.wanted.existing_csv_file", "an existing csv file"),
                str(one),
                near=siblings(Path(one)),
            )
        return str(one), read_rows(Path(one))
    if isinstance(one, pandas.DataFrame):
        return "row", one
    rows = np.atleast_2d(np.asarray(one, dtype=np.float32))
    if rows.shape[1] != len(columns):
        raise refusal(
            "the rows",
            message(
                "inference.wanted.columns_wide",
                "{columns} columns wide ({listed} ...)",
                columns=len(columns),
                listed=", ".join(columns[:8]),
            ),
            rows.shape[1],
        )
    return "row", pandas.DataFrame(rows, columns=list(columns))

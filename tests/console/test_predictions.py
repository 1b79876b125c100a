"""The table of predictions: a cell of each task's answer."""

import io

import pytest
from rich.console import Console

from danlu.console.predictions import print_predictions
from danlu.inference.prediction import Detection, Prediction

ROWS = {
    "a class": (
        Prediction("a.png", label="cat", confidence=0.9, top=[("cat", 0.9), ("dog", 0.1)]),
        "cat 0.900 dog 0.100",
    ),
    "labels": (Prediction("a.png", labels=[("sea", 0.8)], top=[("sea", 0.8), ("sun", 0.2)]), "sea 0.800 sun 0.200"),
    "no label": (Prediction("a.png", labels=[], top=[("sea", 0.3)]), "no label sea 0.300"),
    "a number": (Prediction("a.png", value=2.5), "2.5"),
    "several numbers": (Prediction("a.png", targets={"price": 2.5, "age": 30.0}), "price 2.5, age 30"),
    "areas": (Prediction("a.png", areas={"road": 0.75, "sky": 0.25}), "road 75.0%, sky 25.0%"),
    "objects": (Prediction("a.png", objects=[Detection("cat", 0.87, [0, 0, 1, 1])]), "1 cat 0.87"),
    "unreadable": (Prediction("a.png", error="truncated"), "unreadable truncated"),
}


@pytest.mark.parametrize(("prediction", "cells"), ROWS.values(), ids=ROWS)
def test_every_kind_of_answer_has_its_cells(prediction, cells):
    text = io.StringIO()
    print_predictions(Console(file=text, width=100), [prediction])
    line = next(line for line in text.getvalue().splitlines() if "a.png" in line)
    assert " ".join(line.split()) == f"a.png {cells}"

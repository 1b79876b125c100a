"""Pieces of the pages."""

from __future__ import annotations

import re

import pytest

from danlu.report.markup import file_name, label, number_cell, short_label, table, text_cell
from danlu.run.names import SPLIT_TITLES
from danlu.run.quantities import METRICS


@pytest.mark.parametrize(
    ("name", "html"),
    [
        ("daisy/001.jpg", "<bdi><i>daisy/</i><span>001.jpg</span></bdi>"),
        ("a/b/001.jpg", "<bdi><i>a/b/</i><span>001.jpg</span></bdi>"),
        ("train sample 3", "<bdi><span>train sample 3</span></bdi>"),
        ("<b>/&.jpg", "<bdi><i>&lt;b&gt;/</i><span>&amp;.jpg</span></bdi>"),
    ],
)
def test_folders_of_a_file_are_apart_from_its_name(name: str, html: str) -> None:
    assert file_name(name) == html


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_has_a_name_for_readers(metric):
    assert "_" not in label(metric)
    assert "_" not in short_label(metric)
    assert "_" not in label(metric, within=SPLIT_TITLES["test"])


def test_titles_are_above_their_numbers() -> None:
    rows = [
        [text_cell("a"), number_cell(1, "1"), text_cell("x")],
        [text_cell("b"), number_cell(2, "2"), text_cell("y")],
    ]
    made = table(["name", "count", "word"], iter(rows), numbers=0)
    assert re.findall(r"<th( class=number)?>(\w+)", made) == [("", "name"), (" class=number", "count"), ("", "word")]
    assert made.count("<tr>") == 3
    assert "class=number" not in table(["name"], [])

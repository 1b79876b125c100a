"""Lists in the documents are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from danlu.detection.build import DETECTORS
from danlu.models.build import MODELS

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize(("title", "table"), [("Networks", MODELS), ("Detectors", DETECTORS)])
def test_readme_lists_every_entry_and_nothing_else(title: str, table: dict) -> None:
    paragraph = README.read_text(encoding="utf-8").split(f"**{title}.**")[1].split("\n\n")[0]
    listed = re.findall(r"`([^`]+)`", paragraph)
    assert sorted(listed) == sorted(table)

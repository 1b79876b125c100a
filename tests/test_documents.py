"""Names in the documents are those of the code."""

from __future__ import annotations

import inspect
import re
import runpy
from pathlib import Path

import pytest

import danlu
from danlu.data.format_table import readable_formats
from danlu.detection.detector_table import DETECTORS
from danlu.models.network_table import MODELS

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("page", "title", "table"),
    [
        ("README.md", "**Networks.**", MODELS),
        ("README.md", "**Detectors.**", DETECTORS),
        ("README.zh-CN.md", "**网络。**", MODELS),
        ("README.zh-CN.md", "**检测器。**", DETECTORS),
    ],
)
def test_networks_named_in_the_readme_exist(page: str, title: str, table: dict) -> None:
    """The page names examples; `danlu networks` lists all."""
    paragraph = (ROOT / page).read_text(encoding="utf-8").split(title)[1].split("\n\n")[0]
    named = set(re.findall(r"`([a-z0-9-]+)`", paragraph))
    assert len(named) > 5
    assert named - {"--backbone"} <= set(table)


@pytest.mark.parametrize("name", [n for n in danlu.__all__ if inspect.isfunction(getattr(danlu, n))])
def test_a_public_function_says_what_it_takes_and_raises(name: str) -> None:
    """Its docstring has a section Args that names every parameter, and a section Raises."""
    function = getattr(danlu, name)
    arguments = (inspect.getdoc(function) or "").partition("Args:")[2]
    assert "Raises:" in arguments
    named = {
        word for line in arguments.splitlines() if ": " in line for word in re.findall(r"\w+", line.split(": ")[0])
    }
    assert set(inspect.signature(function).parameters) <= named


def test_pages_made_from_the_code_are_up_to_date() -> None:
    """docs/findings.md, docs/formats.md and docs/python.md; the README has a link to each."""
    pages = runpy.run_path(str(ROOT / "tools" / "pages.py"))["pages"]()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, text in pages.items():
        is_current = (ROOT / "docs" / name).read_text(encoding="utf-8") == text
        assert is_current, f"docs/{name} is older than the code; run: python tools/pages.py"
        assert f"docs/{name}" in readme


@pytest.mark.parametrize("name", readable_formats())
def test_a_format_has_a_layout_tasks_and_a_test_that_opens_it(name: str) -> None:
    form = readable_formats()[name]
    assert form.layout
    assert form.tasks
    tests = (ROOT / "tests" / "data" / form.tests).read_text(encoding="utf-8")
    words = {name, name.replace(" ", "-"), name.replace(" ", "_"), name.replace(" ", "")}
    assert any(word in tests.lower() for word in words)


def test_the_names_of_networks_are_those_of_the_tables() -> None:
    made = runpy.run_path(str(ROOT / "tools" / "pages.py"))
    assert made["NAMES"].read_text(encoding="utf-8") == made["model_names"](), "run: python tools/pages.py"

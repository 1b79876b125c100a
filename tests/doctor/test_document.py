"""docs/findings.md is generated from the code."""

from __future__ import annotations

from pathlib import Path

from danlu.doctor.document import document
from danlu.doctor.findings.table import FINDINGS

PAGE = Path(__file__).parents[2] / "docs" / "findings.md"


def test_findings_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == document(), "run: python -m danlu.doctor.document > docs/findings.md"


def test_every_finding_has_a_section_without_formats() -> None:
    page = document()
    assert all(f"### {code}\n" in page for code in FINDINGS)
    assert ":%}" not in page

"""The page of all findings; tests/test_documents.py compares docs/findings.md with it."""

from __future__ import annotations

from danlu.doctor.findings.table import FINDINGS
from danlu.doctor.presentation.document import document


def test_every_finding_has_a_section_without_formats() -> None:
    page = document()
    assert all(f"### {code}\n" in page for code in FINDINGS)
    assert ":%}" not in page

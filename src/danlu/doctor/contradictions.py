"""Findings that exclude one another, by `FindingSpec.contradicts`: only the one with more evidence is reported."""

from __future__ import annotations

from collections.abc import Sequence

from danlu.doctor.finding import Finding
from danlu.doctor.findings.table import FINDINGS


def contradict(one: str, other: str) -> bool:
    """Return whether the findings with these codes exclude one another."""
    return other in _contradicted(one) or one in _contradicted(other)


def without_contradictions(found: Sequence[Finding]) -> list[Finding]:
    """The findings without those that a more severe or more confident one contradicts. found: in that order."""
    kept: list[Finding] = []
    for finding in found:
        if not any(contradict(finding.code, other.code) for other in kept):
            kept.append(finding)
    return kept


def _contradicted(code: str) -> tuple[str, ...]:
    return FINDINGS[code].contradicts if code in FINDINGS else ()

"""Causes and consequences among findings, by `FindingSpec.explains`: a consequence needs no fix of its own."""

from __future__ import annotations

from collections.abc import Sequence

from danlu.doctor.finding import Finding
from danlu.doctor.findings.table import FINDINGS


def explained_by(found: Sequence[Finding]) -> dict[str, list[str]]:
    """Map each cause among `found` to the codes it explains.

    found: findings, most severe and confident first. Where two codes explain each other, the first is the cause.
    """
    best: dict[str, Finding] = {}
    for finding in found:
        best.setdefault(finding.code, finding)
    explained: dict[str, list[str]] = {}
    for cause, finding in best.items():
        if finding.severity == "note":
            continue
        for code in best:
            if code != cause and _explains(cause, code) and cause not in _reached(explained, code):
                explained.setdefault(cause, []).append(code)
    return explained


def _reached(explained: dict[str, list[str]], cause: str) -> set[str]:
    """Codes that follow from `cause`, directly or through others."""
    codes: set[str] = set()
    ahead = [cause]
    while ahead:
        for code in explained.get(ahead.pop(), []):
            if code not in codes:
                codes.add(code)
                ahead.append(code)
    return codes


def _explains(cause: str, code: str) -> bool:
    explains = FINDINGS[cause].explains if cause in FINDINGS else ()
    return any(code == e or (e.endswith("*") and code.startswith(e[:-1])) for e in explains)
